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
    replay = ["replay", "run", _NAME, "--dataset", dataset]
    span = {"--start": "{{ ti.xcom_pull(task_ids='plan')['start'] }}", "--end": "{{ ti.xcom_pull(task_ids='plan')['end'] }}"}
    approval = {
        "--approved-by": "{{ (ti.xcom_pull(task_ids='approve') or {}).get('approved_by') or '' }}",
        "--reason": "{{ (ti.xcom_pull(task_ids='approve') or {}).get('reason') or '' }}",
    }
    limits: Document = {"size_bytes": plan.size_bytes, "windows": plan.windows, "ceiling_bytes": plan.ceiling_bytes}
    tasks = [
        task("plan", "plan", dataset=dataset, hours=plan.hours, timezone=common.schedules.timezone, **limits),
        task("approve", "approve", ["plan"], respond_s=plan.respond_s),
        task("run", "headrace", ["approve"], command=replay, options={**span, "--max-rate": plan.rate or "", **approval}),
        task("diff", "headrace", ["run"], command=["replay", "diff", _NAME], options=common.page("--page")),
        task(
            "promote", "headrace", ["diff"], command=["replay", "promote", _NAME, "--unless-done", *held(contract)],
            outlets=[common.asset("validated", dataset)],
        ),
        *common.gate(contract, "promote", range_of="plan"),
    ]  # fmt: skip
    return {
        **common.shared("backfill", *common.owner(contract), dataset),
        "about": f"Rebuilds `validated.{dataset}` from raw, one replay per interval: plan, approval above "
        f"{plan.size_bytes:,} bytes or {plan.windows:,} windows, run, diff, promote. It never starts by itself: "
        f"`airflow backfill create --dag-id {common.schedules.name}.backfill.{dataset} --from-date … --to-date …`.",
        "files": [],
        "schedule": {"backfill": plan.every, "timezone": common.schedules.timezone},
        "dagrun_timeout_s": plan.respond_s + LONGEST_RUN_S,
        "defaults": {**defaults(2, plan.timeout_s), "pool": f"{common.schedules.name}.backfill"},
        "params": RANGE_PARAMS,
        "tasks": tasks,
    }


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
