"""Tasks that several processes of this machine share: what they raise arrives, and none of them outlives the run."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pyiceberg.exceptions import ServiceUnavailableError

from cli.fault import places
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


def fail_elsewhere(here: int, make: Callable[[], Exception]) -> None:
    """In any process but this one, which waits for the others meanwhile."""
    if os.getpid() != here:
        raise make()
    time.sleep(1)


def wait_until_failed(workers: DirectWorkers, begun: Path) -> Iterator[tuple[Task, Task]]:
    """A task for each process, of which one fails; then one that is only ready when that has happened."""
    yield from tasks(*[partial(fail_elsewhere, os.getpid(), partial(DataError, "no"))] * 2)
    until = time.monotonic() + DEADLINE_S
    while not workers.failed:
        assert time.monotonic() < until
        time.sleep(0.01)
    yield partial(note, begun, 3), nothing


class Odd(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


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
    ("make", "kind", "told"),
    [
        (partial(DataError, "the data said no"), DataError, "the data said no"),
        (partial(FileNotFoundError, 2, "No such file", "x"), FileNotFoundError, "No such file"),
        (partial(ServiceUnavailableError, "of the catalog"), ServiceUnavailableError, "of the catalog"),
        (partial(ValueError, "17"), ValueError, "17"),
        (partial(Odd, 1, 2), RuntimeError, r"(?s)Traceback.*in fail_elsewhere.*Odd: 3"),
        (partial(BrokenPipeError, 32, "Broken pipe"), ComponentDownError, "a connection broke"),
    ],
    ids=["ours", "the system's", "a library's", "a fault", "not picklable", "a broken pipe"],
)
def test_what_a_task_raises_in_another_process_is_raised_here(
    make: Callable[[], Exception], kind: type[Exception], told: str
) -> None:
    with DirectWorkers(2, imports=HERE) as workers, pytest.raises(kind, match=told):
        workers.run(tasks(*[partial(fail_elsewhere, os.getpid(), make)] * 2))


def test_where_it_was_raised_in_another_process_can_be_told() -> None:
    with DirectWorkers(2, imports=HERE) as workers, pytest.raises(ValueError, match="17") as raised:
        workers.run(tasks(*[partial(fail_elsewhere, os.getpid(), partial(ValueError, "17"))] * 2))
    found = list(places(raised.value))
    assert any("test_direct_workers.py" in place and "in fail_elsewhere" in place for place in found)
    assert not any("ValueError: 17" in place for place in found)


def test_none_is_begun_after_a_failure_that_came_while_the_next_was_waited_for(tmp_path: Path) -> None:
    with DirectWorkers(2, imports=HERE) as workers, pytest.raises(DataError, match="no"):
        workers.run(wait_until_failed(workers, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_imported_is_raised() -> None:
    with DirectWorkers(2, imports="no.such.module") as workers, pytest.raises(ModuleNotFoundError):
        workers.run(tasks(*[partial(time.sleep, 1)] * 20))


def test_a_process_that_is_killed_is_told_with_what_to_do() -> None:
    with (
        DirectWorkers(2, imports=HERE) as workers,
        pytest.raises(ComponentDownError, match=r"killed by SIGKILL, as where .* Run it again, with fewer"),
    ):
        workers.run(tasks(*[partial(die, os.getpid())] * 2))


_FOREVER = f"""
import sys, time
from functools import partial
from contracts.logs import LogOptions, configure
configure(LogOptions("error"))
from runners.direct_workers import DirectWorkers
with DirectWorkers(3, imports="{HERE}") as workers:
    print(*(worker._process.pid for worker in workers._others), flush=True)
    workers.run((partial(time.sleep, 600), print) for _ in range(3 * int(sys.argv[1])))
    time.sleep(600)
"""


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is left, within the deadline."""
    until = time.monotonic() + DEADLINE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("are_at_work", "after_s"), [(False, 3), (True, 3), (True, 0)], ids=["idle", "at work", "not yet there"])
def test_they_end_with_a_process_that_is_killed(number: signal.Signals, are_at_work: bool, after_s: float) -> None:
    command = [sys.executable, "-c", _FOREVER, str(int(are_at_work))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout and parent.stderr
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        time.sleep(after_s)
        parent.send_signal(number)
        said = parent.stderr.read()
    assert len(pids) == 2 and gone(pids)
    assert said == ""


def test_half_a_task_is_none() -> None:
    """As of a process that was killed while it gave a large one."""
    command = [sys.executable, "-m", "runners.direct_worker", HERE]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        said = worker.communicate(pickle.dumps(b"x" * 300_000)[:200_000], timeout=DEADLINE_S)
    assert (worker.returncode, said) == (1, (b"", b""))


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
