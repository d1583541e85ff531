"""What is kept of headrace's JSON, and how streams are read."""

from templates.airflow.streams import fresh, frontiers, moved, running_job
from templates.airflow.summary import held_by, merged, summary, told, unchanged

MANIFEST = {
    "run_id": "r1",
    "inputs": [{"uri": "a"}] * 1_000,
    "finished_at": "2026-11-01T00:10:00Z",
    "ledger": {"web": {"records_in": 10, "out": 8, "duplicate": 1, "dead_letter": 1, "codes": {"bad": 1}}},
    "datasets": {"customer_event": {"table": "validated.customer_event", "rows": 8, "content_hash": "aa"}},
    "verdict": {"exit_code": 1, "reasons": ["too many were rejected"]},
}


def test_a_manifest_becomes_small_and_keeps_ledger_and_hash() -> None:
    kept = summary(MANIFEST)
    assert kept["run_id"] == "r1" and "inputs" not in kept
    assert kept["ledger"]["web"]["out"] == 8 and kept["ledger"]["web"]["late"] == 0
    assert kept["tables"] == {"validated.customer_event": {"rows": 8, "content_hash": "aa"}}
    assert kept["reasons"] == ["too many were rejected"]


def test_documents_of_other_shapes_are_nothing() -> None:
    assert summary(None) == {} and summary([1]) == {} and summary({"verdict": "no", "ledger": [1], "datasets": 3}) == {}


def test_runs_of_one_interval_add_up_and_the_last_one_tells_the_hash() -> None:
    first = summary(MANIFEST)
    second = {**first, "run_id": "r2", "finished_at": "2026-11-01T00:20:00Z"}
    second["tables"] = {"validated.customer_event": {"rows": 16, "content_hash": "bb"}}
    both = merged([second, first])
    assert both["ledger"]["web"]["records_in"] == 20
    assert both["tables"]["validated.customer_event"]["content_hash"] == "bb"
    assert both["run_ids"] == ["r2", "r1"]


def _tables(content: str | None, rows: int = 8) -> dict[str, object]:
    return {"tables": {"validated.x": {"rows": rows, "content_hash": content}}}


def test_a_table_is_unchanged_where_the_last_event_told_the_same_content() -> None:
    assert unchanged(_tables("aa"), _tables("aa")) and not unchanged(_tables("ab"), _tables("aa"))
    assert unchanged(_tables("aa"), {"dataset": "x", "content_hash": "aa"})  # a promotion told it
    assert not unchanged(_tables("aa"), {"start": "2026-11-01T00:00:00Z"})  # it did not say
    assert not unchanged({}, _tables("aa")) and not unchanged({}, {}) and not unchanged(_tables(None), _tables(None))


def test_a_table_that_nobody_was_told_of_is_new_unless_it_is_empty() -> None:
    assert not unchanged(_tables("aa"), None) and unchanged(_tables("00", rows=0), None) and not unchanged({}, None)


RUNS = [
    {"run_id": "x"},
    {
        "run_id": "s",
        "stream": {"source": "web", "newest_row_age_s": 61.0, "logs": [{"topic": "t", "partition": 0, "frontier": 105}]},
    },
    {"run_id": "q", "stream": "its logs cannot be shown"},
]


def test_a_frontier_that_is_further_has_moved() -> None:
    assert frontiers(RUNS, "web") == {"t[0]": 105}
    assert moved(RUNS, "web", {"t[0]": 104}) and moved(RUNS, "web", {})
    assert not moved(RUNS, "web", {"t[0]": 105}) and not moved(RUNS, "orders", {}) and not moved(None, "web", {})


def test_fresh_is_the_age_of_the_newest_row() -> None:
    assert fresh(RUNS, "web", 61) and not fresh(RUNS, "web", 60) and not fresh(RUNS, "orders", 1e9) and not fresh(None, "web", 1)


def test_a_job_that_has_ended_or_is_lost_does_not_run() -> None:
    jobs = [
        {"source": "web", "state": state, "run_id": state} for state in ("LOST", "FAILED", "CANCELED", "FINISHED", "RESTARTING")
    ]
    job = running_job(jobs, "web")
    assert job is not None and job["run_id"] == "RESTARTING"
    assert running_job(jobs[:-1], "web") is None and running_job(None, "web") is None


def _hold(hour: int, run_id: str, severity: str = "quarantine") -> dict[str, object]:
    start, end = (f"2026-11-01T{at:02}:00:00Z" for at in (hour, hour + 1))
    return {"from": start, "to": end, "rules": ["null_share"], "severity": severity, "run_id": run_id, "samples": ["secret"]}


def test_what_is_held_concerns_a_run_by_who_brought_it_by_its_range_and_by_a_stop() -> None:
    gates = [{"dataset": "x", "held": [_hold(1, "old"), _hold(2, "own"), _hold(3, "old"), _hold(4, "old", "stop")]}]
    assert [hold["from"][11:13] for hold in held_by(gates, ["own"], {})] == ["02", "04"]
    span = {"start": "2026-11-01T03:30:00+00:00", "end": "2026-11-01T04:00:00Z"}
    assert [hold["from"][11:13] for hold in held_by(gates, [], span)] == ["03"]
    later = {"start": "2026-11-01T05:00:00Z", "end": "2026-11-01T06:00:00Z"}
    assert [hold["from"][11:13] for hold in held_by(gates, [], later)] == ["04"]  # a stop keeps back what comes after it
    assert held_by(None, ["own"], span) == [] and held_by([{"dataset": "x", "held": []}], ["own"], span) == []
    assert "secret" not in str(held_by(gates, ["own"], {}))


def test_events_tell_their_runs_once_and_the_last_content_hash() -> None:
    ingests = [{"run_ids": ["r1", "r2"], "tables": {"validated.x": {"content_hash": "a"}}}, {"run_ids": ["r2"], "tables": {}}]
    assert told(ingests) == {"run_ids": ["r1", "r2"], "content_hash": "a"}
    promoted = {"name": "bf-x", "content_hash": "b"}
    assert told([*ingests, promoted, {}]) == {"run_ids": ["r1", "r2"], "content_hash": "b"}
    assert told(()) == {"run_ids": [], "content_hash": None}
