"""The DAGs of a project, as data: what ``templates/airflow/factory.py`` makes DAGs of in Airflow's own environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.spec.model import Contract, dataset_name, name_and_major
from contracts.spec.project import Project
from contracts.spec.schedules import BackfillSchedule, DestinationSchedule, Schedules, SourceSchedule, StreamSchedule

Document = dict[str, Any]
RETRY_DELAY_S, MAX_RETRY_DELAY_S = 60, 1_800
UPKEEP_TIMEOUT_S = 14_400
CHECK_TIMEOUT_S = 600
TAKE_BACK_RETRIES = 4  # while it waits no job runs
LONGEST_RUN_S = 7 * 86_400  # of a run that waits for nobody
RUNBOOKS = {  # pages of docs/runbooks, by kind of DAG
    "ingest": "ingest",
    "deliver": "deliver",
    "reconcile": "deliver",
    "upkeep": "ledger",
    "checks": "index",
    "drift": "drift",
    "backfill": "backfill",
    "rollback": "rollback",
    "deploy": "frontier",
    "upgrade": "upgrade",
}
_START, _END = ("{{ ti.xcom_pull(task_ids='range')['" + word + "'] }}" for word in ("start", "end"))
_NAME = "{{ ti.xcom_pull(task_ids='plan')['name'] }}"


@dataclass(frozen=True)
class Scheduled:
    """A project and its schedules."""

    project: Project
    schedules: Schedules

    def dags(self) -> Iterator[Document]:
        """Every DAG, by its name. One whose source or destination cannot be read has ``error`` in place of tasks."""
        for dag_id, make in self._makers():
            try:
                yield {"dag_id": dag_id, **make()}
            except ConfigurationError as error:
                yield {"dag_id": dag_id, **self._shared("error", self.schedules.owner, ""), "error": str(error)}

    def _makers(self) -> Iterator[tuple[str, Callable[[], Document]]]:
        plan, name = self.schedules, self.schedules.name
        for source, when in plan.sources.items():
            yield f"{name}.ingest.{source}", lambda source=source, when=when: self._ingest(source, when)  # type: ignore[misc]
        for source, stream in plan.streams.items():
            yield f"{name}.deploy.{source}", lambda source=source, stream=stream: self._deploy(source, stream)  # type: ignore[misc]
            yield f"{name}.upgrade.{source}", lambda source=source, stream=stream: self._upgrade(source, stream)  # type: ignore[misc]
        for destination, to in plan.destinations.items():
            yield f"{name}.deliver.{destination}", lambda one=destination, to=to: self._deliver(one, to)  # type: ignore[misc]
            if to.reconcile:
                yield f"{name}.reconcile.{destination}", lambda one=destination, to=to: self._reconcile(one, to)  # type: ignore[misc]
        if plan.upkeep:
            yield f"{name}.upkeep", self._upkeep
        if plan.checks:
            yield f"{name}.checks", self._checks
        if plan.drift:
            yield f"{name}.drift", self._drift
        if plan.backfill:
            for dataset in self._datasets():
                yield f"{name}.backfill.{dataset}", lambda one=dataset: self._backfill(one, plan.backfill)  # type: ignore[misc]
                yield f"{name}.rollback.{dataset}", lambda one=dataset: self._rollback(one)  # type: ignore[misc]

    def _datasets(self) -> list[str]:
        """Those that a scheduled source feeds; a source that cannot be read has its own DAG that says so."""
        found = []
        for source in {**self.schedules.sources, **self.schedules.streams}:
            try:
                found.append(_dataset(self.project.source(source)[1]))
            except ConfigurationError:
                continue
        return sorted(set(found))

    # --- a DAG each

    def _ingest(self, source: str, when: SourceSchedule) -> Document:
        _, contract = self.project.source(source)
        topic = when.input.startswith("kafka://")
        where: Document = {
            "input": when.input,
            "timezone": self.schedules.timezone,
            "partition_s": None if topic else when.partition_s,
            "wait_s": when.wait_s,
            "marker": when.marker,
            "missing": when.missing,
        }
        until = {"--until": "{{ data_interval_end.in_timezone('UTC').strftime('%Y-%m-%dT%H:%M:%SZ') }}"} if topic else {}
        tasks = [
            _task("partitions", "partitions", **where),
            _task(
                "ingest", "headrace", ["partitions"], command=["ingest", source, *when.options, *_held(contract)], options=until,
                inputs_of="partitions", parallel=1 if topic else when.parallel,
            ),
            _task("publish", "publish", ["ingest"], of="ingest", outlets=[self._asset("validated", _dataset(contract))]),
            *self._gate(contract, "ingest"),
        ]  # fmt: skip
        return {
            **self._shared("ingest", *_owner(contract, self.schedules), source, _dataset(contract)),
            "about": f"Source `{source}` into `validated.{_dataset(contract)}`, one task per partition. A task that is run again "
            "lands nothing twice and changes no row.",
            "files": self._files(source, self.project.sources),
            "schedule": self._cron(when.every),
            "catchup": when.catchup,
            "max_active_tasks": when.parallel,
            "defaults": _defaults(when.retries, when.timeout_s),
            "tasks": tasks,
        }

    def _deliver(self, name: str, to: DestinationSchedule) -> Document:
        _, contract = self.project.destination(name)
        tasks = [
            {**_task("range", "range", lookback_s=to.lookback_s), "inlets": [self._asset("validated", _dataset(contract))]},
            _task(
                "deliver", "headrace", ["range"], command=["deliver", name], options={"--start": _START, "--end": _END},
                outlets=[self._asset("delivered", name)],
            ),
        ]  # fmt: skip
        return {
            **self._shared("deliver", *_owner(contract, self.schedules), name, _dataset(contract)),
            "about": f"Rows of `validated.{_dataset(contract)}` to destination `{name}`, after each change of the dataset. What "
            "has a final answer is not sent again.",
            "files": self._files(name, self.project.destinations),
            "schedule": {"assets": [self._asset("validated", _dataset(contract))]},
            "defaults": _defaults(to.retries, to.timeout_s),
            "params": _RANGE_PARAMS,
            "tasks": tasks,
        }

    def _reconcile(self, name: str, to: DestinationSchedule) -> Document:
        _, contract = self.project.destination(name)
        tasks = [
            _task("range", "range", behind_s=to.behind_s),
            _task(
                "reconcile", "headrace", ["range"], command=["reconcile", name],
                options={"--start": _START, "--end": _END, **self._page("--html")},
            ),
        ]  # fmt: skip
        assert to.reconcile is not None
        return {
            **self._shared("reconcile", *_owner(contract, self.schedules), name, _dataset(contract)),
            "about": f"What should be at destination `{name}` against what it has, id by id. It changes nothing.",
            "files": self._files(name, self.project.destinations),
            "schedule": self._cron(to.reconcile),
            "defaults": _defaults(to.retries, to.timeout_s),
            "params": _RANGE_PARAMS,
            "tasks": tasks,
        }

    def _upkeep(self) -> Document:
        plan = self.schedules.upkeep
        assert plan is not None
        steps = {
            "compact": ["lake", "compact", "--to", plan.compact],
            "expire": ["lake", "expire", "--older-than", plan.expire],
            "clean": ["lake", "clean", "--older-than", plan.clean],
            "check": ["lake", "check"],
        }
        return {
            **self._shared("upkeep", self.schedules.owner, ""),
            "about": "Merges small files, forgets old snapshots, sweeps what crashed runs left, and checks that the lake fits "
            "together. No row and no content hash changes; safe beside running jobs.",
            "schedule": self._cron(plan.every),
            "defaults": _defaults(2, UPKEEP_TIMEOUT_S),
            "tasks": _chain(steps),
        }

    def _checks(self) -> Document:
        assert self.schedules.checks is not None
        return {
            **self._shared("checks", self.schedules.owner, ""),
            "about": "Red while a delivery or a stream is late, or a worker silent.",
            "schedule": self._cron(self.schedules.checks),
            "defaults": _defaults(1, CHECK_TIMEOUT_S),
            "tasks": [_task("status", "headrace", command=["status", "--check"])],
        }

    def _drift(self) -> Document:
        assert self.schedules.drift is not None
        return {
            **self._shared("drift", self.schedules.owner, ""),
            "about": "Red while what is deployed differs from the repository. It changes nothing.",
            "schedule": self._cron(self.schedules.drift),
            "defaults": _defaults(2, CHECK_TIMEOUT_S),
            "tasks": [_task("drift", "headrace", command=["drift"])],
        }

    def _backfill(self, dataset: str, plan: BackfillSchedule) -> Document:
        contract = self.project.contract(*name_and_major(dataset))
        replay = ["replay", "run", _NAME, "--dataset", dataset]
        span = {"--start": "{{ ti.xcom_pull(task_ids='plan')['start'] }}", "--end": "{{ ti.xcom_pull(task_ids='plan')['end'] }}"}
        approval = {
            "--approved-by": "{{ (ti.xcom_pull(task_ids='approve') or {}).get('approved_by') or '' }}",
            "--reason": "{{ (ti.xcom_pull(task_ids='approve') or {}).get('reason') or '' }}",
        }
        limits: Document = {"size_bytes": plan.size_bytes, "windows": plan.windows, "ceiling_bytes": plan.ceiling_bytes}
        tasks = [
            _task("plan", "plan", dataset=dataset, hours=plan.hours, timezone=self.schedules.timezone, **limits),
            _task("approve", "approve", ["plan"], respond_s=plan.respond_s),
            _task("run", "headrace", ["approve"], command=replay, options={**span, "--max-rate": plan.rate or "", **approval}),
            _task("diff", "headrace", ["run"], command=["replay", "diff", _NAME], options=self._page("--page")),
            _task(
                "promote", "headrace", ["diff"], command=["replay", "promote", _NAME, *_held(contract)],
                outlets=[self._asset("validated", dataset)],
            ),
            *self._gate(contract, "promote", range_of="plan"),
        ]  # fmt: skip
        return {
            **self._shared("backfill", *_owner(contract, self.schedules), dataset),
            "about": f"Rebuilds `validated.{dataset}` from raw, one replay per interval: plan, approval above "
            f"{plan.size_bytes:,} bytes or {plan.windows:,} windows, run, diff, promote. It never starts by itself: "
            f"`airflow backfill create --dag-id {self.schedules.name}.backfill.{dataset} --from-date … --to-date …`.",
            "files": [],
            "schedule": {"backfill": plan.every, "timezone": self.schedules.timezone},
            "dagrun_timeout_s": plan.respond_s + LONGEST_RUN_S,
            "defaults": {**_defaults(2, plan.timeout_s), "pool": f"{self.schedules.name}.backfill"},
            "params": _RANGE_PARAMS,
            "tasks": tasks,
        }

    def _rollback(self, dataset: str) -> Document:
        contract = self.project.contract(*name_and_major(dataset))
        steps = {"rollback": ["replay", "rollback", "{{ params.replay }}"]}
        tasks = _chain(steps)
        tasks[0]["outlets"] = [self._asset("validated", dataset)]
        return {
            **self._shared("rollback", *_owner(contract, self.schedules), dataset),
            "about": f"Takes the promotion of one replay of `validated.{dataset}` back; what live jobs published since is kept.",
            "schedule": None,
            "defaults": {**_defaults(2, CHECK_TIMEOUT_S * 6), "pool": f"{self.schedules.name}.backfill"},
            "params": {"replay": {"type": "string", "minLength": 1, "description": "Name of the replay (headrace replay list)."}},
            "tasks": tasks,
        }

    def _deploy(self, source: str, stream: StreamSchedule) -> Document:
        _, contract = self.project.source(source)
        return {
            **self._shared("deploy", *_owner(contract, self.schedules), source, _dataset(contract)),
            "about": f"Starts the streaming job of `{source}` on Flink, unless it runs, and waits until its frontier moves.",
            "files": self._files(source, self.project.sources),
            "schedule": None,
            "defaults": _defaults(2, CHECK_TIMEOUT_S * 3 + stream.moves_within_s),
            "tasks": [
                _task("deploy", "deploy", source=source, **_stream(stream)),
                _task("moves", "moves", ["deploy"], source=source, of="deploy", within_s=stream.moves_within_s),
            ],
        }

    def _upgrade(self, source: str, stream: StreamSchedule) -> Document:
        _, contract = self.project.source(source)
        within_s = stream.moves_within_s
        follows = (
            "the new job is cancelled and the version before (`previous`) is started from the savepoint, with its own options; the "
            "run stays red."
            if stream.previous
            else "the new job is cancelled, and the task says how to start the version before by hand; `previous` would do it."
        )
        tasks = [
            _task("stop", "stop", source=source, previous=stream.previous),
            _task("start", "deploy", ["stop"], source=source, **_stream(stream), savepoint_of="stop"),
            _task("moves", "moves", ["start"], source=source, of="start", within_s=within_s),
            {
                **_task("take_back", "take_back", ["moves"], source=source, previous=stream.previous, retries=TAKE_BACK_RETRIES),
                "trigger_rule": "one_failed",
            },
        ]
        if stream.previous:
            told = "the upgrade failed and was taken back: the version before works, and goes on from the savepoint"
            tasks.append(_task("took_back", "moves", ["take_back"], source=source, of="take_back", within_s=within_s, then=told))
        return {
            **self._shared("upgrade", *_owner(contract, self.schedules), source, _dataset(contract)),
            "about": f"Stops the job of `{source}` with a savepoint, starts it from there with the code that is installed, and "
            f"watches its frontier. Where that stands still, or the start fails, {follows}",
            "files": self._files(source, self.project.sources),
            "schedule": None,
            "defaults": _defaults(0, CHECK_TIMEOUT_S * 6 + within_s),
            "tasks": tasks,
        }

    # --- what they share

    def _shared(self, kind: str, owner: str, contact: str, *tags: str) -> Document:
        """Conventions: one run at a time, nothing overtakes, everything has an owner, a runbook and an end."""
        return {
            "kind": kind,
            "owner": owner,
            "contact": contact,
            "runbook": self._runbook(RUNBOOKS.get(kind, "")),
            "tags": sorted({"headrace", self.schedules.name, kind, *tags}),
            "files": [],
            "schedule": None,
            "start": self.schedules.start.isoformat(),
            "catchup": False,
            "max_active_runs": 1,
            "max_active_tasks": 4,
            "dagrun_timeout_s": LONGEST_RUN_S,
            "defaults": _defaults(0, CHECK_TIMEOUT_S),
            "params": {},
        }

    def _gate(self, contract: Contract, of: str, **given: str) -> list[Document]:
        """A task that is red where the gate of a dataset holds what another has brought; none where it has no gate."""
        if not contract.gated:
            return []
        task = _task("gate", "gate", [of], dataset=_dataset(contract), of=of, **given)
        return [{**task, "runbook": self._runbook("gate")}]

    def _runbook(self, page: str) -> str:
        base = self.schedules.runbooks.rstrip("/")
        return f"{base}/{page}.html" if base and page else ""

    def _asset(self, kind: str, name: str) -> str:
        return f"headrace://{self.schedules.name}/{kind}/{name}"

    def _cron(self, every: str) -> Document:
        return {"cron": every, "timezone": self.schedules.timezone}

    def _page(self, option: str) -> Mapping[str, str]:
        """A page of the task's own, below ``reports``; none without. The operator fills the place in."""
        return {option: "@page"} if self.schedules.reports else {}

    def _files(self, name: str, folders: Sequence[Path]) -> list[str]:
        """Files without which the DAG cannot run, relative to the project."""
        found = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
        if found is None or not found.is_relative_to(self.project.root):
            return []
        return [str(found.relative_to(self.project.root))]


_RANGE_PARAMS: Document = {
    word: {"type": ["null", "string"], "format": "date-time", "description": told}
    for word, told in (
        ("start", "First moment, for a run by hand; else the interval's."),
        ("end", "The moment after the range, for a run by hand; else the interval's."),
    )
}


def _task(task_id: str, kind: str, after: Sequence[str] = (), *, outlets: Sequence[str] = (), **given: Any) -> Document:
    task = {"task_id": task_id, "kind": kind, "after": list(after), "with": given}
    return {**task, "outlets": list(outlets)} if outlets else task


def _held(contract: Contract) -> tuple[str, ...]:
    """What the gate holds is told by a task of its own: the rest is published, and what follows runs on it."""
    return ("--allow-held",) if contract.gated else ()


def _chain(steps: Mapping[str, list[str]]) -> list[Document]:
    names = list(steps)
    return [
        _task(name, "headrace", names[number - 1 : number] if number else (), command=command)
        for number, (name, command) in enumerate(steps.items())
    ]


def _defaults(retries: int, timeout_s: int) -> Document:
    return {
        "retries": retries,
        "retry_delay_s": RETRY_DELAY_S,
        "max_retry_delay_s": MAX_RETRY_DELAY_S,
        "timeout_s": timeout_s,
        "pool": "default_pool",
    }


def _stream(stream: StreamSchedule) -> Document:
    return {"input": stream.input, "workers": stream.workers, "more": list(stream.options)}


def _owner(contract: Contract, schedules: Schedules) -> tuple[str, str]:
    return contract.owner or schedules.owner, contract.contact or ""


def _dataset(contract: Contract) -> str:
    return dataset_name(contract.name, contract.major)
