"""What processes take is measured as the system has it, and a ceiling ends what takes more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.errors import CeilingError, ConfigurationError
from lake.runs import usage
from lake.runs.process import ProcessIdentity
from lake.runs.usage import Ceiling, Meter

MB = 1 << 20
CHILD = "import sys, time; held = bytearray({mb} << 20); print('.', flush=True); time.sleep({s})"


def child(mb: int, s: float = 60) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", CHILD.format(mb=mb, s=s)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    return process


def test_memory_of_two_children_at_once_is_added_up() -> None:
    """The system's own maximum of children is that of the largest alone (DataBiosphere/toil#1542)."""
    with Meter() as meter:
        children = [child(80), child(80)]
        meter._look()
        for one in children:
            one.kill()
            one.wait()
    assert meter.peak_memory_bytes is not None and meter.peak_memory_bytes > 160 * MB


def test_cpu_time_of_a_child_that_nobody_waited_for_counts() -> None:
    """As rui314/mold#1471 has it, such time is in no sum of the system."""
    spin = "import time\nwhile time.process_time() < 0.6: pass\nprint('.', flush=True); time.sleep(60)"
    with Meter() as meter:
        one = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
        assert one.stdout is not None
        one.stdout.read(1)
        assert meter.cpu_s >= 0.5
    one.kill()
    one.wait()


def test_a_process_that_was_just_forked_does_not_double_what_is_held() -> None:
    """Resident sizes alone add its parent's pages up twice (dmwm/WMCore#8498)."""
    held = b"x" * (200 * MB)
    with Meter(Ceiling(memory_bytes=10 << 40)) as meter:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        try:
            meter._look()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        mine = usage._resident_bytes(os.getpid())
    assert meter._peak_bytes < mine + len(held) // 2


def test_what_takes_more_memory_than_it_may_is_ended_and_says_so() -> None:
    one = child(300)
    told = r"^replay x: takes .* of memory, above the ceiling of 200.0 MB \(--max-memory\); it was stopped$"
    with pytest.raises(CeilingError, match=told), Meter(Ceiling(memory_bytes=200 * MB), "replay x"):
        one.wait(60)
    one.kill()
    one.wait()
    assert CeilingError.exit_code == 1


def test_cpu_time_of_earlier_runs_is_taken_from_what_is_left() -> None:
    """Each try would get the whole of it again, as in Agent-Field/CodeAF#1281."""
    told = "1h of it in earlier runs, above the ceiling of 1h"
    with pytest.raises(CeilingError, match=told), Meter(Ceiling(cpu_s=3_600, spent_s=3_600.0)):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass


def test_a_ceiling_holds_where_a_shell_ignores_interrupts_and_what_catches_exceptions() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(CeilingError), Meter(Ceiling(memory_bytes=1)):
            while True:
                try:
                    time.sleep(30)
                except Exception:
                    continue
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stop_that_a_finalizer_swallows_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_CHILDREN_S", 0.5)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    class Slow:
        def __del__(self) -> None:
            time.sleep(30)

    with pytest.raises(CeilingError), Meter(Ceiling(memory_bytes=1)):
        Slow()  # ended by the first stop, which is lost
        time.sleep(30)


def test_what_does_not_stop_is_killed_with_what_it_started(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys, time
from lake.runs import usage
usage._GRACE_S = 0.5
usage._CHILDREN_S = 0.2
with usage.Meter(usage.Ceiling(memory_bytes=1), "replay x", lambda why: why + "; noted"):
    one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({str(tmp_path / "pid")!r}, "w").write(str(one.pid))
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: replay x: takes ") and done.stderr.endswith("(--max-memory); it was stopped; noted\n")
    assert ProcessIdentity.of(int((tmp_path / "pid").read_text())) is None


def test_an_error_of_the_block_is_raised_as_it_is_and_a_handler_is_given_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(KeyError), Meter(Ceiling(cpu_s=1_000)):
        raise KeyError
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_ceiling_that_cannot_be_held_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left out in silence, as a limit without a price is in apache/airflow#71403."""
    monkeypatch.setattr(usage, "_PROC", Path("/no/such/place"))
    with pytest.raises(ConfigurationError, match="--max-memory and --max-cpu need /proc"):
        Meter(Ceiling(cpu_s=1))
    with Meter() as meter:
        pass
    assert meter.cpu_s >= 0
