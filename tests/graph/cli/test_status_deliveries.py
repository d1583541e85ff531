"""``headrace status`` of deliveries: where each stands, what is late, and what a probe is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.status import status
from lake.location import Lake
from lake.receipts.state import ReaderState, read_states, write_state
from lake.runs.manifest import MANIFEST, STARTED, recent_runs, write_document, write_started
from lake.runs.submission import Attempt, record_ending, record_submission
from operations.deliveries import DeliveryState, deliveries
from tests.support.shop import Shop, event

ROOT = Path(__file__).parents[3]
NOW = 1_795_000_000_000_000
MINUTE = 60_000_000
RUN = "20261123T100000000000Z-deliver-cdp-aaaaaa"
LATER = "20261123T110000000000Z-deliver-cdp-bbbbbb"
STARTED_AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
DESTINATION = {
    "destination": "cdp", "dataset": "customer_event", "type": "segment", "endpoint": "${CDP_ENDPOINT:-http://127.0.0.1:9/v1/batch}",
    "credentials": {"write_key": "env:CDP_KEY"}, "consent": [], "columns": {"event_id": "messageId", "event_type": "type",
    "anonymous_id": "anonymousId"}, "limits": {"queue_age_s": 120},
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.lake().create()
    (made.folder / "destinations").mkdir()
    (made.folder / "destinations" / "cdp.yaml").write_text(yaml.safe_dump(DESTINATION))
    return made


def tell(lake: Lake, now_us: int = NOW, **changes: Any) -> None:
    """One reader's state, told ten seconds ago."""
    given: dict[str, Any] = {
        "run_id": RUN, "destination": "cdp", "reader": 0, "of": 1, "endless": True, "updated_us": now_us - 10_000_000,
        "started_us": now_us - 5 * MINUTE, "state": "ok", "since_us": now_us - 5 * MINUTE,
        "counts": {"delivered": 700, "refused": 2, "withheld:consent_denied:ads": 3, "withheld:suppressed": 4, "filtered": 5},
        "events_per_s": 12.5, "bytes_per_s": 900.0, "requests": 30, "retried": 4, "throttled": 3, "waiting": 40, "lag": 100,
        "oldest_us": now_us - 20_000_000, "lanes": 3,
    }  # fmt: skip
    write_state(lake, ReaderState(**{**given, **changes}))


def seen(shop: Shop, now_us: int = NOW) -> list[DeliveryState]:
    return deliveries(shop.lake(), shop.project, recent_runs(shop.lake(), 10), now_us)


def the(shop: Shop, now_us: int = NOW) -> DeliveryState:
    (found,) = seen(shop, now_us)
    return found


def asked(shop: Shop, *arguments: str) -> Result:
    return CliRunner().invoke(
        status, [*arguments, "--lake", shop.lake().root, "--project", str(shop.folder)], catch_exceptions=False
    )


def test_a_run_is_its_readers_put_together(shop: Shop) -> None:
    tell(shop.lake(), of=2)
    tell(
        shop.lake(), of=2, reader=1, started_us=NOW - 3 * MINUTE, oldest_us=NOW - 40_000_000, lag=None, events_per_s=0.5,
        counts={"delivered": 1, "before": 9},
    )  # fmt: skip
    found = the(shop)
    assert (found.run_id, found.destination, found.state, found.endless, found.readers) == (RUN, "cdp", "ok", True, 2)
    assert found.counts == {
        "before": 9, "delivered": 701, "filtered": 5, "refused": 2, "withheld:consent_denied:ads": 3, "withheld:suppressed": 4,
    }  # fmt: skip
    assert (found.events_per_s, found.requests, found.retried, found.throttled) == (13.0, 60, 8, 6)
    assert (found.waiting, found.lag, found.queue_age_s, found.queue_age_limit_s) == (80, 100, 40.0, 120)
    assert found.counts_since is not None and found.counts_since.timestamp() * 1e6 == NOW - 5 * MINUTE
    assert (found.late, found.problems, found.limit_note) == (False, (), None)


def test_the_worst_reader_says_how_it_is(shop: Shop) -> None:
    down: dict[str, Any] = {
        "state": "down",
        "since_us": NOW - 90_000_000,
        "last_failure": "connect",
        "next_try_us": NOW + 7_000_000,
    }
    tell(shop.lake(), of=3, reader=0, state="throttled")
    tell(shop.lake(), of=3, reader=1, **down)
    tell(
        shop.lake(),
        of=3,
        reader=2,
        **down | {"since_us": NOW - 30_000_000, "next_try_us": NOW + 4_000_000, "last_failure": "reset"},
    )
    found = the(shop)
    assert (found.state, found.since.timestamp() * 1e6) == ("down", NOW - 90_000_000)
    assert (found.next_try_in_s, found.last_failure) == (4.0, "reset")
    tell(shop.lake(), of=3, reader=1)
    tell(shop.lake(), of=3, reader=2, state="ended")
    assert the(shop).state == "throttled"


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({"state": "down", "last_failure": "http_503"}, "the destination is down (http_503)"),
        ({"state": "throttled"}, "the destination asks for less"),
        ({"state": "ok"}, "more comes in than is delivered, 12 events/s"),
        ({"updated_us": NOW - MINUTE}, "nobody works on it"),
    ],
)
def test_a_queue_beyond_the_destinations_limit_is_late_and_says_why(shop: Shop, state: dict[str, Any], cause: str) -> None:
    tell(shop.lake(), oldest_us=NOW - 2 * MINUTE, **state)
    assert not the(shop).late
    tell(shop.lake(), oldest_us=NOW - 2 * MINUTE - 1_000, **state)
    found = the(shop)
    assert found.late
    assert found.problems[-1] == (
        f"cdp: run {RUN}: the oldest row has waited 120 s, longer than 120 s (limits.queue_age_s): {cause}"
    )


def test_a_dead_workers_queue_grows_older(shop: Shop) -> None:
    tell(shop.lake())
    ages = [the(shop, NOW + minutes * MINUTE).queue_age_s for minutes in (0, 1, 10)]
    assert ages == [20.0, 80.0, 620.0]
    assert [the(shop, NOW + minutes * MINUTE).late for minutes in (0, 1, 10)] == [False, False, True]


def test_rows_of_a_table_wait_for_nobody(shop: Shop) -> None:
    tell(shop.lake(), endless=False, oldest_us=None, lag=None)
    found = the(shop)
    assert (found.queue_age_s, found.late, found.lag) == (None, False, None)


def test_a_worker_is_silent_after_thirty_seconds_without_a_sign(shop: Shop) -> None:
    tell(shop.lake(), of=2, updated_us=NOW - 30_000_000)
    tell(shop.lake(), of=2, reader=1)
    assert the(shop).state == "ok"
    found = the(shop, NOW + 1_000)
    assert (found.state, found.silent_readers) == ("silent", (0,))
    assert found.events_per_s == 12.5  # of those who work
    assert found.problems == (
        f"cdp: run {RUN}: no sign of reader 0 of 2 for 30 s; the worker is dead, or cannot write to the lake",
    )


def test_a_reader_that_never_told_anything_is_silent_two_minutes_after_the_others_began(shop: Shop) -> None:
    tell(shop.lake(), of=2, started_us=NOW - 2 * MINUTE)
    assert the(shop).state == "ok"
    tell(shop.lake(), of=2, started_us=NOW - 2 * MINUTE - 1)
    assert the(shop).silent_readers == (1,)


def test_a_reader_that_ended_needs_no_sign(shop: Shop) -> None:
    tell(shop.lake(), state="ended", endless=False, updated_us=NOW - 60 * MINUTE)
    found = the(shop)
    assert (found.state, found.problems, found.queue_age_s) == ("ended", (), None)


def test_a_silent_run_is_forgotten_once_another_has_taken_its_place(shop: Shop) -> None:
    tell(shop.lake(), updated_us=NOW - 9 * MINUTE)
    tell(shop.lake(), run_id=LATER, endless=False)
    assert [(s.run_id, s.state) for s in seen(shop)] == [(RUN, "silent"), (LATER, "ok")]  # that is no place of a run without an end
    tell(shop.lake(), run_id=LATER)
    assert [(s.run_id, s.state) for s in seen(shop)] == [(LATER, "ok")]


def test_a_killed_run_with_an_end_is_silent_until_a_later_one_came_to_its_end(shop: Shop) -> None:
    lake = shop.lake()
    tell(lake, updated_us=NOW - 9 * MINUTE, endless=False)
    write_started(lake, LATER, STARTED_AT, "cdp", pipeline="deliver")
    other = LATER.replace("-cdp-", "-other-")
    write_started(lake, other, STARTED_AT, "other", pipeline="deliver")
    write_document(lake.runs / other / MANIFEST, {"source": "other", "pipeline": "deliver"})
    assert "silent" in {state.state for state in seen(shop) if state.run_id == RUN}
    write_document(lake.runs / LATER / MANIFEST, {"source": "cdp", "pipeline": "deliver"})
    assert seen(shop) == []


def test_two_runs_that_share_a_destination_are_both_shown(shop: Shop) -> None:
    tell(shop.lake())
    tell(shop.lake(), run_id=LATER)
    assert [state.run_id for state in seen(shop)] == [RUN, LATER]


def test_a_job_that_was_stopped_is_no_dead_worker(shop: Shop) -> None:
    lake = shop.lake()
    tell(lake, updated_us=NOW - 9 * MINUTE)
    write_started(lake, RUN, STARTED_AT, "cdp", pipeline="deliver")
    record_submission(lake, RUN, ("deliver", "cdp"), RUN, "localhost:8081", Attempt("j1", STARTED_AT))
    assert the(shop).state == "silent"
    record_ending(lake, RUN, "stopped")
    assert seen(shop) == []


def test_a_submitted_job_that_never_told_anything_is_silent_after_two_minutes(shop: Shop) -> None:
    lake = shop.lake()
    write_started(lake, RUN, STARTED_AT, "cdp", pipeline="deliver")
    record_submission(lake, RUN, ("deliver", "cdp"), RUN, "localhost:8081", Attempt("j1", STARTED_AT))
    began = int(STARTED_AT.timestamp()) * 1_000_000
    assert the(shop, began + 2 * MINUTE).state == "starting"
    found = the(shop, began + 2 * MINUTE + 1)
    assert found.state == "silent" and "no sign since it was submitted 120 s ago" in found.problems[0]


@pytest.mark.parametrize("told", ["no destination 'cdp'", "the environment has no CDP_ENDPOINT"])
def test_a_destination_that_the_project_does_not_know_has_the_usual_limit(shop: Shop, told: str) -> None:
    file = shop.folder / "destinations" / "cdp.yaml"
    if "environment" in told:
        file.write_text(yaml.safe_dump(DESTINATION | {"endpoint": "${CDP_ENDPOINT}"}))
    else:
        file.unlink()
    now_us = time.time_ns() // 1_000
    tell(shop.lake(), now_us, oldest_us=now_us - 11 * MINUTE)
    write_started(shop.lake(), RUN, STARTED_AT, "cdp", pipeline="deliver")
    found = the(shop, now_us)
    assert (found.late, found.queue_age_limit_s) == (True, 600.0)
    assert told in (found.limit_note or "")
    shown = asked(shop)
    assert shown.exit_code == 0 and "the usual limit" in shown.stdout and told in shown.stdout


def test_status_shows_deliveries_apart_from_runs_that_have_a_ledger(shop: Shop) -> None:
    lake, now_us = shop.lake(), time.time_ns() // 1_000
    shop.ingest([event(1, 9)])
    done = "20261123T090000000000Z-deliver-cdp-cccccc"
    write_started(lake, done, STARTED_AT, "cdp", pipeline="deliver")
    write_document(
        lake.runs / done / MANIFEST,
        {
            "source": "cdp", "pipeline": "deliver", "timings": {"total_s": 61.2}, "verdict": {"reasons": ["cdp refused 2 events"]},
            "counts": {"delivered": 1_200, "withheld:suppressed": 7, "withheld:x": 1, "refused": 2},
        },
    )  # fmt: skip
    gone = {"run_id": LATER, "started_at": "2026-11-23T10:00:00Z", "pipeline": "deliver", "source": "cdp", "pid": 2**22 + 1}
    write_document(lake.runs / LATER / STARTED, gone | {"host": socket.gethostname()})
    tell(lake, now_us, run_id=LATER, state="down", last_failure="connect", next_try_us=now_us + 9_000_000)
    lines = asked(shop).stdout.splitlines()
    ledgers = lines[: lines.index("")]
    assert len(ledgers) == 2 and "-web-" in ledgers[1]  # none of those runs has cells of a ledger
    (row,) = [line for line in lines if line.startswith(done)]
    assert row.split() == [done, "cdp", "finished", "61", "1,200", "8", "2", "0", "0", "cdp", "refused", "2", "events"]
    (row,) = [line for line in lines if line.startswith(LATER)]
    assert row.split()[1:3] == ["cdp", "killed"]
    (title,) = [line for line in lines if line.startswith("run 2026") and LATER in line]
    assert "delivers to cdp: down since " in title and "last failure connect, next try in " in title
    assert "one event is to blame" not in title
    numbers = lines[lines.index(title) + 2].split()
    assert numbers[:11] == ["700", "7", "2", "5", "0", "12", "30", "4", "3", "40", "100"]


def test_json_has_a_delivery_beside_the_run_though_the_run_is_older_than_the_limit(shop: Shop) -> None:
    lake, now_us = shop.lake(), time.time_ns() // 1_000
    write_started(lake, RUN, STARTED_AT, "cdp", pipeline="deliver")
    tell(lake, now_us)
    newer = LATER.replace("deliver-cdp", "web")
    write_started(lake, newer, STARTED_AT, "web")
    runs = json.loads(asked(shop, "--json", "--limit", "1").stdout)
    assert [run["run_id"] for run in runs] == [newer, RUN]
    assert "delivery" not in runs[0]
    assert set(runs[1]["delivery"]) == {
        "run_id", "destination", "state", "since", "last_failure", "in_doubt", "next_try_in_s", "endless", "readers",
        "silent_readers",
        "counts", "counts_since", "events_per_s", "bytes_per_s", "requests", "retried", "throttled", "waiting", "lag",
        "queue_age_s", "queue_age_limit_s", "limit_note", "late", "problems",
    }  # fmt: skip
    assert runs[1]["delivery"]["queue_age_s"] == pytest.approx(20, abs=15)


@pytest.mark.parametrize(
    ("state", "code"),
    [({}, 0), ({"state": "down"}, 0), ({"oldest_us": -3 * MINUTE}, 1), ({"updated_us": -MINUTE}, 1), ({"state": "ended"}, 0)],
)
def test_check_is_for_late_queues_and_silent_workers(shop: Shop, state: dict[str, Any], code: int) -> None:
    now_us = time.time_ns() // 1_000
    given = {key: now_us + value if isinstance(value, int) else value for key, value in state.items()}
    write_started(shop.lake(), RUN, STARTED_AT, "cdp", pipeline="deliver")
    tell(shop.lake(), now_us, **given)
    assert asked(shop, "--check").exit_code == code
    assert asked(shop, "--check", "--json").exit_code == code
    shown = asked(shop)
    assert shown.exit_code == 0
    assert ("LATE" in shown.stdout) == ("oldest_us" in state)
    assert ("no sign of its reader" in shown.stdout) == ("updated_us" in state)


def test_check_of_a_lake_without_deliveries_has_nothing_to_say(shop: Shop) -> None:
    assert asked(shop, "--check").exit_code == 0


@pytest.fixture
def delivering(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """A delivery of a table to an endpoint where nobody listens."""
    shop.ingest([event(number, 9) for number in range(40)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}/v1/batch"
        command = ["deliver", "cdp", "--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z"]
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *command, "--lake", shop.lake().root, "--project", str(shop.folder)],
            cwd=ROOT, env={**os.environ, "CDP_ENDPOINT": endpoint, "CDP_KEY": "k"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"the delivery ended: {process.communicate()[1]}")
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.05)


def test_status_of_a_delivery_whose_destination_is_down_and_whose_worker_then_dies(
    shop: Shop, delivering: subprocess.Popen[str]
) -> None:
    lake = shop.lake()
    wait_for(lambda: any(state.state == "down" for state in read_states(lake, "cdp")), delivering)
    shown = asked(shop, "--check")
    assert shown.exit_code == 0
    assert "delivers to cdp: down since " in shown.stdout and "last failure connect" in shown.stdout
    (run,) = [run for run in json.loads(asked(shop, "--json").stdout) if run["manifest"]["pipeline"] == "deliver"]
    assert run["state"] == "running"
    delivery = run["delivery"]
    assert (delivery["state"], delivery["waiting"], delivery["counts"]) == ("down", 40, {})
    assert delivery["requests"] >= 5 and delivery["queue_age_s"] is None
    delivering.send_signal(signal.SIGKILL)
    delivering.wait()
    (dead,) = deliveries(lake, shop.project, recent_runs(lake, 10), time.time_ns() // 1_000 + 31_000_000)
    assert dead.state == "silent" and dead.waiting == 40 and "the worker is dead" in dead.problems[0]


def test_status_says_that_one_event_may_be_to_blame(shop: Shop) -> None:
    lake, now_us = shop.lake(), time.time_ns() // 1_000
    gone = {"run_id": LATER, "started_at": "2026-11-23T10:00:00Z", "pipeline": "deliver", "source": "cdp", "pid": 2**22 + 1}
    write_document(lake.runs / LATER / STARTED, gone | {"host": socket.gethostname()})
    tell(lake, now_us, run_id=LATER, state="down", last_failure="http_500", in_doubt=True)
    shown = " ".join(asked(shop).stdout.split())
    assert "or one event is to blame (see probe: of destinations), last failure http_500" in shown
