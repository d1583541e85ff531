"""What descriptions of DAGs are put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.spec.model import Contract, dataset_name

Document = dict[str, Any]
RETRY_DELAY_S, MAX_RETRY_DELAY_S = 60, 1_800
UPKEEP_TIMEOUT_S = 14_400
CHECK_TIMEOUT_S = 600
TAKE_BACK_RETRIES = 4  # while it waits no job runs
LONGEST_RUN_S = 7 * 86_400  # of a run that waits for nobody
RANGE_PARAMS: Document = {
    word: {"type": ["null", "string"], "format": "date-time", "description": told}
    for word, told in (
        ("start", "First moment, for a run by hand; else the interval's."),
        ("end", "The moment after the range, for a run by hand; else the interval's."),
    )
}


def task(task_id: str, kind: str, after: Sequence[str] = (), *, outlets: Sequence[str] = (), **given: Any) -> Document:
    """A task, after others of its DAG. kind: one of the factory's; outlets: assets that it changes; given: for its operator."""
    described = {"task_id": task_id, "kind": kind, "after": list(after), "with": given}
    return {**described, "outlets": list(outlets)} if outlets else described


def held(contract: Contract) -> tuple[str, ...]:
    """What the gate holds is told by a task of its own: the rest is published, and what follows runs on it."""
    return ("--allow-held",) if contract.gated else ()


def chain(steps: Mapping[str, list[str]]) -> list[Document]:
    """Commands of headrace by the names of their tasks, one after the other."""
    names = list(steps)
    return [
        task(name, "headrace", names[number - 1 : number] if number else (), command=command)
        for number, (name, command) in enumerate(steps.items())
    ]


def defaults(retries: int, timeout_s: int) -> Document:
    """What holds for all tasks of a DAG that say nothing else."""
    return {
        "retries": retries,
        "retry_delay_s": RETRY_DELAY_S,
        "max_retry_delay_s": MAX_RETRY_DELAY_S,
        "timeout_s": timeout_s,
        "pool": "default_pool",
    }


def dataset_of(contract: Contract) -> str:
    """The name of its dataset."""
    return dataset_name(contract.name, contract.major)
