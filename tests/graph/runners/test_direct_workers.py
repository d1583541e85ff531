"""Tasks that several processes of this machine share: what they raise arrives, and none of them outlives the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, DataError
from runners.direct_workers import DirectWorkers, Task
from tests.support.processes import DEADLINE_S, ROOT, finish, start_ingest, wait_until
from tests.support.shop import Shop, event

HERE = "tests.graph.runners.test_direct_workers"


def note(folder: Path, number: int) -> None:
    """Leave the number in a file that names the process; say something on stdout, which is for answers."""
    print("something")
    with (folder / str(os.getpid())).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(0.05)


def fail(error: Exception) -> None:
    raise error


def fail_elsewhere(here: int, error: Exception) -> None:
    """In any process but this one, which waits for the others meanwhile."""
    if os.getpid() != here:
        raise error
    time.sleep(1)


def die(here: int) -> None:
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)


def nothing() -> None:
    pass


def tasks(*given: Task) -> Iterator[tuple[Task, Task]]:
    yield from ((task, nothing) for task in given)


def test_each_task_is_run_once_by_one_of_the_processes(tmp_path: Path) -> None:
    over: list[int] = []
    with DirectWorkers(3, imports=HERE) as workers:
        workers.run((partial(note, tmp_path, n), partial(over.append, n)) for n in range(200))
        workers.run(tasks(partial(note, tmp_path, 200)))  # they are there until the block ends
    found = {path.name: [int(line) for line in path.read_text().split()] for path in tmp_path.iterdir()}
    assert sorted(n for own in found.values() for n in own) == list(range(201))
    assert len(found) == 3 and str(os.getpid()) in found
    assert sorted(over) == list(range(200))


def test_the_next_task_is_asked_for_when_a_process_is_free_and_none_after_a_failure() -> None:
    asked: list[int] = []

    def given() -> Iterator[tuple[Task, Task]]:
        for number in range(100):
            asked.append(number)
            yield partial(fail, DataError("no")) if number == 2 else nothing, nothing

    with DirectWorkers(1, imports=HERE) as workers, pytest.raises(DataError, match="no"):
        workers.run(given())
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (DataError("the data said no"), DataError, "the data said no"),
        (FileNotFoundError(2, "No such file", "x"), FileNotFoundError, "No such file"),
        (ValueError("17"), RuntimeError, r"(?s)Traceback.*in fail_elsewhere.*ValueError: 17"),
    ],
)
def test_what_a_task_raises_in_another_process_is_raised_here(error: Exception, kind: type[Exception], told: str) -> None:
    with DirectWorkers(2, imports=HERE) as workers, pytest.raises(kind, match=told):
        workers.run(tasks(*[partial(fail_elsewhere, os.getpid(), error)] * 2))


def test_a_process_that_is_killed_is_told_with_what_to_do() -> None:
    with (
        DirectWorkers(2, imports=HERE) as workers,
        pytest.raises(ComponentDownError, match=r"killed by SIGKILL; run it again, .*fewer"),
    ):
        workers.run(tasks(*[partial(die, os.getpid())] * 2))


_FOREVER = f"""
import sys, time
from runners.direct_workers import DirectWorkers
with DirectWorkers(3, imports="{HERE}") as workers:
    workers.run(((time.sleep, print) for _ in ()))
    print(*(worker._process.pid for worker in workers._others), flush=True)
    time.sleep(600)
"""


def test_they_end_with_a_process_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _FOREVER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    until = time.monotonic() + DEADLINE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_interrupted_run_ends_with_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    files = [shop.write_lines(f"{n}.jsonl", [event(1_000 * n + m, 8) for m in range(900)]) for n in range(20)]
    process = start_ingest(tmp_path / "lake", files, "--workers", "3", "--slice-bytes", "1")
    assert wait_until(process, lambda: any((tmp_path / "lake").glob("warehouse/validated/*/data/*.parquet")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    code, _, said = finish(process)
    assert code == 130
    told = [line for line in said.splitlines() if line and " s: " not in line]
    assert told == ["headrace: stopped. What was committed stays; run the same command again to go on."]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
