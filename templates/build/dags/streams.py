"""DAGs of streaming jobs: deploy, and upgrade with a way back."""

from __future__ import annotations

from contracts.spec.schedules import StreamSchedule
from templates.build.dags.conventions import Conventions
from templates.build.dags.parts import CHECK_TIMEOUT_S, Document, dataset_of, defaults, task

TAKE_BACK_RETRIES = 4  # while it waits no job runs


def deploy(common: Conventions, source: str, stream: StreamSchedule) -> Document:
    """Starts a source's job. Raises ConfigurationError: the source cannot be read; so does the other."""
    _, contract = common.project.source(source)
    return {
        **common.shared("deploy", *common.owner(contract), source, dataset_of(contract)),
        "about": f"Starts the streaming job of `{source}` on Flink, unless it runs, and waits until its frontier moves.",
        "files": common.files(source, common.project.sources),
        "schedule": None,
        "defaults": defaults(2, CHECK_TIMEOUT_S * 3 + stream.moves_within_s),
        "tasks": [
            task("deploy", "deploy", source=source, **_stream(stream)),
            task("moves", "moves", ["deploy"], source=source, of="deploy", within_s=stream.moves_within_s),
        ],
    }


def upgrade(common: Conventions, source: str, stream: StreamSchedule) -> Document:
    """Savepoint, stop, start with the code that is installed, and the way back."""
    _, contract = common.project.source(source)
    within_s = stream.moves_within_s
    follows = (
        "the new job is cancelled and the version before (`previous`) is started from the savepoint, with its own options; the "
        "run stays red."
        if stream.previous
        else "the new job is cancelled, and the task says how to start the version before by hand; `previous` would do it."
    )
    tasks = [
        task("stop", "stop", source=source, previous=stream.previous),
        task("start", "deploy", ["stop"], source=source, **_stream(stream), savepoint_of="stop"),
        task("moves", "moves", ["start"], source=source, of="start", within_s=within_s),
        {
            **task("take_back", "take_back", ["moves"], source=source, previous=stream.previous, retries=TAKE_BACK_RETRIES),
            "trigger_rule": "one_failed",
        },
    ]
    if stream.previous:
        told = "the upgrade failed and was taken back: the version before works, and goes on from the savepoint"
        tasks.append(task("took_back", "moves", ["take_back"], source=source, of="take_back", within_s=within_s, then=told))
    return {
        **common.shared("upgrade", *common.owner(contract), source, dataset_of(contract)),
        "about": f"Stops the job of `{source}` with a savepoint, starts it from there with the code that is installed, and "
        f"watches its frontier. Where that stands still, or the start fails, {follows}",
        "files": common.files(source, common.project.sources),
        "schedule": None,
        "defaults": defaults(0, CHECK_TIMEOUT_S * 6 + within_s),
        "tasks": tasks,
    }


def _stream(stream: StreamSchedule) -> Document:
    return {"input": stream.input, "workers": stream.workers, "more": list(stream.options)}
