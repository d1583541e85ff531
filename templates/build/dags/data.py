"""DAGs of data: ingestion by partition, delivery after each change, reconciliation."""

from __future__ import annotations

from contracts.spec.schedules import DestinationSchedule, SourceSchedule
from templates.build.dags.conventions import Conventions
from templates.build.dags.parts import RANGE_PARAMS, Document, dataset_of, defaults, held, task

_START, _END = ("{{ ti.xcom_pull(task_ids='range')['" + word + "'] }}" for word in ("start", "end"))

_WATCHED = "a task ingest failed, and its log says why; publish has told what the others brought. Clear it with what follows it"


def ingest(common: Conventions, source: str, when: SourceSchedule) -> Document:
    """Folders or a topic into a dataset. Raises ConfigurationError: the source cannot be read; so do the others."""
    _, contract = common.project.source(source)
    topic = when.input.startswith("kafka://")
    where: Document = {
        "input": when.input,
        "timezone": common.schedules.timezone,
        "partition_s": None if topic else when.partition_s,
        "wait_s": when.wait_s,
        "marker": when.marker,
        "missing": when.missing,
    }
    validated = common.asset("validated", dataset_of(contract))
    until = {"--until": "{{ data_interval_end.in_timezone('UTC').strftime('%Y-%m-%dT%H:%M:%SZ') }}"} if topic else {}
    tasks = [
        task("partitions", "partitions", **where),
        task(
            "ingest", "headrace", ["partitions"], command=["ingest", source, *when.options, *held(contract)], options=until,
            inputs_of="partitions", parallel=1 if topic else when.parallel,
        ),
        {
            **task("publish", "publish", ["ingest"], of="ingest", since="partitions", outlets=[validated]),
            "inlets": [validated], "trigger_rule": "all_done_min_one_success",
        },
        {**task("watcher", "watcher", ["ingest"], why=_WATCHED), "trigger_rule": "one_failed"},
        *({**gate, "trigger_rule": "all_done"} for gate in common.gate(contract, "ingest")),
    ]  # fmt: skip
    return {
        **common.shared("ingest", *common.owner(contract), source, dataset_of(contract)),
        "about": f"Source `{source}` into `validated.{dataset_of(contract)}`, one task per partition. A task that is run again "
        "lands nothing twice and changes no row.",
        "files": common.files(source, common.project.sources),
        "schedule": common.cron(when.every),
        "catchup": when.catchup,
        "max_active_tasks": when.parallel,
        "defaults": defaults(when.retries, when.timeout_s),
        "tasks": tasks,
    }


def deliver(common: Conventions, name: str, to: DestinationSchedule) -> Document:
    """Changed rows to a destination."""
    _, contract = common.project.destination(name)
    tasks = [
        {**task("range", "range", lookback_s=to.lookback_s), "inlets": [common.asset("validated", dataset_of(contract))]},
        task(
            "deliver", "headrace", ["range"], command=["deliver", name], options={"--start": _START, "--end": _END},
            outlets=[common.asset("delivered", name)],
        ),
    ]  # fmt: skip
    return {
        **common.shared("deliver", *common.owner(contract), name, dataset_of(contract)),
        "about": f"Rows of `validated.{dataset_of(contract)}` to destination `{name}`, after each change of the dataset. What "
        "has a final answer is not sent again.",
        "files": common.files(name, common.project.destinations),
        "schedule": {"assets": [common.asset("validated", dataset_of(contract))]},
        "defaults": defaults(to.retries, to.timeout_s),
        "params": RANGE_PARAMS,
        "tasks": tasks,
    }


def reconcile(common: Conventions, name: str, to: DestinationSchedule) -> Document:
    """What a destination has against what it should have."""
    _, contract = common.project.destination(name)
    tasks = [
        task("range", "range", behind_s=to.behind_s),
        task(
            "reconcile", "headrace", ["range"], command=["reconcile", name],
            options={"--start": _START, "--end": _END, **common.page("--html")},
        ),
    ]  # fmt: skip
    assert to.reconcile is not None
    return {
        **common.shared("reconcile", *common.owner(contract), name, dataset_of(contract)),
        "about": f"What should be at destination `{name}` against what it has, id by id. It changes nothing.",
        "files": common.files(name, common.project.destinations),
        "schedule": common.cron(to.reconcile),
        "defaults": defaults(to.retries, to.timeout_s),
        "params": RANGE_PARAMS,
        "tasks": tasks,
    }
