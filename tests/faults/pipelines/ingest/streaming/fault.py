"""What a test of faults does around each of them, and in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.pipelines.ingest.streaming.conftest import Recorded
from tests.faults.pipelines.ingest.streaming.live_job import DEADLINE_S, LiveJob, wait_for
from tests.faults.pipelines.ingest.streaming.outcome import Sent, check_immediate, check_ledger, check_published, check_raw

FAST = ("--early-panes", "5s", "--late-panes", "5s", "--commit-every", "5s")


@contextmanager
def fault(live: LiveJob, recorded: Recorded, name: str, *, settle: bool = True) -> Iterator[None]:
    """Around a fault: the time to the first commit behind it, and whether something is lost or there twice by then.

    settle: wait for outcomes, and look; else that is left to the end.
    """
    known = live.checkpoints()
    wait_for(lambda: live.checkpoints() >= known + 2, f"{name}: two checkpoints before it")
    began = time.time()
    recorded.spans[name] = began, float("inf")
    yield
    wait_for(lambda: live.committed_after(began), f"{name}: a commit after it")
    commit_s = time.time() - began
    wait_for(lambda: live.shows_events_after(began), f"{name}: a commit with events from after it")
    recorded.faults[name] = {"first_commit_s": round(commit_s, 1), "first_new_events_s": round(time.time() - began, 1)}
    if settle:
        ends = live.end_of_topic()
        sent = Sent.read(live).below(ends)
        wait_for(lambda: live.accounted_up_to(ends), f"{name}: an outcome for every message up to {ends}")
        recorded.faults[name]["accounted_s"] = round(time.time() - began, 1)
        check_published(live, sent, recorded.spans, complete=False)
    recorded.spans[name] = began, time.time()
    recorded.faults[name]["python_workers"] = len(live.python_workers())
    print(f"\n{name}: {recorded.faults[name]}")
    recorded.write()


def check_all(live: LiveJob, recorded: Recorded) -> None:
    """End the load and the job: everything that was sent is published once, landed once, and sent on."""
    said = live.stop_load()
    ends = live.end_of_topic()
    drained_s = wait_for(lambda: live.accounted_up_to(ends), "an outcome for every message", 2 * DEADLINE_S)
    sent = Sent.read(live)
    assert said["sent"] == said["acknowledged"] == len(sent.lines)
    live.job("cancel", "--yes")
    late = check_published(live, sent, recorded.spans, complete=True)
    entry = check_ledger(live, sent, ends)
    check_raw(live, ends)
    repeats = check_immediate(live, sent)
    live.headrace("lake", "files", "--verify")
    recorded.outcome |= {
        "sent": said["sent"], "published": entry.out, "late_only": late, "late": entry.late, "duplicate": entry.duplicate,
        "dead_letter": entry.dead_letter, "immediate_repeats": repeats, "drained_s": round(drained_s, 1),
        "producer_cpu_s": said["cpu_seconds"], "producer_late_ms_max": said["late_ms_max"],
    }  # fmt: skip
    print(f"\n{recorded.outcome}")
    recorded.write()
