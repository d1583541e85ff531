"""DAGs of backfills: a replay per interval with approval, and its way back."""

from __future__ import annotations

from contracts.spec.model import name_and_major
from contracts.spec.schedules import BackfillSchedule
from templates.build.dags.conventions import Conventions
from templates.build.dags.parts import CHECK_TIMEOUT_S, LONGEST_RUN_S, RANGE_PARAMS, Document, chain, defaults, held, task

_NAME = "{{ ti.xcom_pull(task_ids='plan')['name'] }}"


def backfill(common: Conventions, dataset: str, plan: BackfillSchedule) -> Document:
    """Rebuilds a dataset from raw. Raises ConfigurationError: its contract cannot be read; so does the other."""
    contract = common.project.contract(*name_and_major(dataset))
    span = {"--start": "{{ ti.xcom_pull(task_ids='plan')['start'] }}", "--end": "{{ ti.xcom_pull(task_ids='plan')['end'] }}"}
    how = {
        "--max-rate": plan.rate or "",
        "--max-memory": plan.max_memory or "",
        "--max-cpu": plan.max_cpu or "",
        "--max-parallel": str(plan.workers) if plan.workers > 1 else "",
    }
    to_topic = {"--to-topic": "{{ params.to_topic or '' }}"}
    tasks = [
        task(
            "plan", "plan", dataset=dataset, hours=plan.hours, timezone=common.schedules.timezone, size_bytes=plan.size_bytes,
            windows=plan.windows, ceiling_bytes=plan.ceiling_bytes, options=how,
        ),
        task("approve", "approve", ["plan"], respond_s=plan.respond_s),
        task(
            "run", "headrace", ["approve"], command=["replay", "run", _NAME, "--dataset", dataset],
            options={**span, **how, **to_topic, **_approval("approve")},
        ),
        task("diff", "headrace", ["run"], command=["replay", "diff", _NAME], options=common.page("--page")),
        *(_judged(common, plan.respond_s) if contract.gated else ()),
        task(
            "promote", "headrace", ["approve_held" if contract.gated else "diff"],
            command=["replay", "promote", _NAME, "--unless-done", *held(contract)],
            options=_approval("approve_held") if contract.gated else {},
            outlets=[common.asset("validated", dataset)],
        ),
        *common.gate(contract, "promote", "held", range_of="plan", foreseen_of="gate"),
    ]  # fmt: skip
    steps = "run, diff, gate, promote" if contract.gated else "run, diff, promote"
    return {
        **common.shared("backfill", *common.owner(contract), dataset),
        "about": f"Rebuilds `validated.{dataset}` from raw, one replay per interval: plan, approval above "
        f"{plan.size_bytes:,} bytes or {plan.windows:,} windows, {steps}. It never starts by itself: "
        f"`airflow backfill create --dag-id {common.schedules.name}.backfill.{dataset} --from-date … --to-date …`.",
        "files": [],
        "schedule": {"backfill": plan.every, "timezone": common.schedules.timezone},
        "dagrun_timeout_s": plan.respond_s + LONGEST_RUN_S,
        "defaults": {**defaults(2, plan.timeout_s), "pool": f"{common.schedules.name}.backfill"},
        "params": {**RANGE_PARAMS, "to_topic": _to_topic(plan.topics.get(dataset))},
        "tasks": tasks,
    }


def _judged(common: Conventions, respond_s: int) -> list[Document]:
    """What the gate would hold is known before anything is promoted; a person says whether the rest is promoted all the same."""
    asked = [task("gate", "verdict", ["diff"], replay=_NAME), task("approve_held", "approve_held", ["gate"], respond_s=respond_s)]
    return [common.of_gates(one) for one in asked]


def _approval(of: str) -> Document:
    """Who said yes in a task, and why; nothing where nobody was asked."""
    answer = f"(ti.xcom_pull(task_ids='{of}') or {{}})"
    return {f"--{word.replace('_', '-')}": f"{{{{ {answer}.get('{word}') or '' }}}}" for word in ("approved_by", "reason")}


def _to_topic(default: str | None) -> Document:
    told = "A new topic that rebuilt rows are published to too, kafka://HOST:PORT/TOPIC; empty for none."
    return {"type": ["null", "string"], "default": default, "description": told}


def rollback(common: Conventions, dataset: str) -> Document:
    """Takes a promotion back."""
    contract = common.project.contract(*name_and_major(dataset))
    steps = {"rollback": ["replay", "rollback", "{{ params.replay }}", "--unless-done"]}
    tasks = chain(steps)
    tasks[0]["outlets"] = [common.asset("validated", dataset)]
    return {
        **common.shared("rollback", *common.owner(contract), dataset),
        "about": f"Takes the promotion of one replay of `validated.{dataset}` back; what live jobs published since is kept.",
        "schedule": None,
        "defaults": {**defaults(2, CHECK_TIMEOUT_S * 6), "pool": f"{common.schedules.name}.backfill"},
        "params": {"replay": {"type": "string", "minLength": 1, "description": "Name of the replay (headrace replay list)."}},
        "tasks": tasks,
    }
