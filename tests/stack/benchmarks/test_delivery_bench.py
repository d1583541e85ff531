from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.delivery import __main__ as command
from benchmarks.delivery.bench import COMMAND, CONTESTANTS, READER, SEGMENT, SEGMENT_2, Contest, Run, Timed, require
from benchmarks.delivery.capacity import bodies
from benchmarks.delivery.endpoints import BARE, ENDPOINTS, LEDGER, Endpoint
from benchmarks.delivery.report import document_of, lines_of
from benchmarks.delivery.sample import Sample
from benchmarks.delivery.theirs import calls_of
from benchmarks.ingest import sample as web
from benchmarks.ingest.measure import RunFailedError

SAMPLE = Sample(Path("project"), Path("events.jsonl"), ["a1", "b1", "a2"], ["a", "b", "a"], 300)
ARRIVED = [("b1", "b"), ("a1", "a"), ("a2", "a")]


@pytest.mark.long
def test_everybody_delivers_every_event_once_to_both_endpoints_and_only_then_figures_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(web, "CACHE", tmp_path / "cache")
    figures = tmp_path / "figures.json"
    assert command.main(["--events", "1500", "--rounds", "1", "--output", str(figures)]) == 0, capsys.readouterr().err
    document = json.loads(figures.read_text())
    assert document["command"] == "python -m benchmarks.delivery --events 1500 --rounds 1"
    assert document["events"] > 1_000
    for endpoint in ENDPOINTS:
        entry = document["endpoints"][endpoint.name]
        assert set(entry["contestants"]) == {c.name for c in CONTESTANTS if not c.on_topic}
        assert all(found["cpu_ms_per_1000"] > 0 and found["wall_s"] > 0 for found in entry["contestants"].values())
        assert [name for name, found in entry["contestants"].items() if found["startup_s"]] == [COMMAND.name]
        assert entry["ratios"]["command_with_start"]["default"] < entry["ratios"]["command"]["default"]
    judging = document["endpoints"][LEDGER.name]["contestants"].values()
    assert sum(found["endpoint_cpu_ms_per_1000"] for found in judging) > 0
    told = capsys.readouterr().out
    assert "speed of one reader / of Segment's client" in told
    assert str(tmp_path) not in told


@pytest.mark.parametrize(
    ("arrivals", "told"),
    [
        (ARRIVED[:2], "1 are missing, 0 came again, 0 were never sent"),
        ([*ARRIVED, ("b1", "b")], "0 are missing, 1 came again, 0 were never sent"),
        ([*ARRIVED, ("x", "b")], "0 are missing, 0 came again, 1 were never sent"),
        ([*ARRIVED[:1], *ARRIVED[:0:-1]], "out of order"),
    ],
)
def test_a_run_counts_only_if_every_event_arrived_once_and_in_order(arrivals: list[tuple[str, str]], told: str) -> None:
    require(READER, SAMPLE, ARRIVED)
    with pytest.raises(RunFailedError, match=f"reader: .*{told}"):
        require(READER, SAMPLE, arrivals)


def test_a_client_that_promises_no_order_may_mix_it() -> None:
    require(SEGMENT_2, SAMPLE, ARRIVED[::-1])
    with pytest.raises(RunFailedError, match="out of order"):
        require(SEGMENT, SAMPLE, ARRIVED[::-1])


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_endpoint_tells_what_arrived_in_order_and_how_often(endpoint: Endpoint) -> None:
    first = {"messageId": "m1", "type": "track", "event": "E", "userId": "ü", "timestamp": "2026-11-01T00:00:00Z"}
    second = {**first, "messageId": "m2", "userId": None, "anonymousId": "a"}
    with endpoint.started() as running, httpx.Client(auth=("dev-write-key", ""), trust_env=False) as client:
        whole = client.post(f"{running.url}/v1/batch", json={"batch": [first, second]})
        small = gzip.compress(json.dumps({"batch": [first]}).encode())
        again = client.post(f"{running.url}/rudderstack/v1/batch", content=small, headers={"Content-Encoding": "gzip"})
        found = endpoint.arrivals(running.url)
    assert (whole.status_code, whole.json(), again.text) == (200, {"success": True}, "OK")
    in_order = [("m1", "ü"), ("m2", "a"), ("m1", "ü")]
    assert found == in_order if endpoint is BARE else sorted(found) == sorted(in_order)


def test_requests_made_beforehand_hold_every_event_within_the_limits() -> None:
    events = [json.dumps({"messageId": f"m{i}", "note": "x" * (i % 900)}).encode() for i in range(6_000)]
    found = [gzip.decompress(body) for body in bodies(events)]
    batches = [json.loads(body)["batch"] for body in found]
    assert [event["messageId"] for batch in batches for event in batch] == [f"m{i}" for i in range(6_000)]
    assert all(len(body) <= 500_000 and len(batch) <= 2_500 for body, batch in zip(found, batches, strict=True))
    assert len(found) == -(-sum(map(len, events)) // 499_000), "each is full"


class Client:
    def track(self, *, user_id: str, message_id: str, timestamp: Any, properties: Any = None) -> None: ...
    def alias(self, *, user_id: str, previous_id: str, message_id: str, timestamp: Any) -> None: ...


def test_a_client_is_called_with_what_its_method_takes() -> None:
    common = {"messageId": "m", "userId": "u", "anonymousId": "a", "previousId": "p", "timestamp": "2026-11-01T00:00:00Z"}
    track, alias = calls_of(Client(), [{**common, "type": "track", "properties": {"a": 1}}, {**common, "type": "alias"}])
    assert (track[0], sorted(track[1])) == ("track", ["message_id", "properties", "timestamp", "user_id"])
    assert (alias[0], sorted(alias[1])) == ("alias", ["message_id", "previous_id", "timestamp", "user_id"])


def contest(*, reader_s: float, others: float = 0.0, endpoint: Endpoint = LEDGER) -> Contest:
    def run(wall_s: float, startup_s: float | None = None) -> Run:
        return Run(Timed(wall_s, 2.0, startup_s), 1.0, others)

    runs = {
        SEGMENT.name: [run(10.0), run(20.0), run(12.0)], SEGMENT_2.name: [run(12.0), run(16.0), run(8.0)],
        READER.name: [run(reader_s), run(reader_s), run(reader_s)], COMMAND.name: [run(3.0, 1.0), run(4.0, 1.0), run(3.0, 1.0)],
    }  # fmt: skip
    return Contest(endpoint, 1_000, runs)


def test_ratios_are_to_the_clients_runs_of_the_same_round() -> None:
    document = document_of("command", [contest(reader_s=2.0)], 500_000, 3)
    entry = document["endpoints"]["ledger"]
    assert entry["ratios"] == {
        "reader": {"default": 6.0, "faster": 5.0},
        "command": {"default": 4.0, "faster": 3.33},
        "command_with_start": {"default": 3.0, "faster": 2.5},
    }
    assert entry["contestants"][SEGMENT.name]["events_per_s"] == round(1_000 / 12)
    assert entry["contestants"][COMMAND.name]["startup_s"] == 1.0
    assert entry["contestants"][READER.name]["cpu_ms_per_1000"] == 2_000
    lines = lines_of(document)
    both = "**6.00** as it comes (aim 5), **5.00** with one thread or two, whichever is faster (aim 5)"
    assert f"- speed of one reader / of Segment's client: {both}" in lines
    assert len({len(line) for line in lines if line.startswith("|")}) == 1
    assert not any("hint" in line for line in lines)


def test_a_ratio_that_misses_its_aim_and_a_loud_machine_are_said() -> None:
    lines = lines_of(document_of("command", [contest(reader_s=4.0, others=0.2, endpoint=BARE)], 500_000, 3))
    assert any(line.startswith("- speed of one reader") and "**3.00** as it comes (aim 5, not reached)" in line for line in lines)
    assert "- other processes used up to 20% of the cores: a hint, not a figure to quote" in lines


def test_a_contestant_that_loses_something_ends_the_command_with_1_and_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> None:
        require(READER, SAMPLE, ARRIVED[1:])

    monkeypatch.setattr(command, "make_sample", lambda *_: replace(SAMPLE))
    monkeypatch.setattr(command, "run_contest", lose)
    assert command.main(["--output", str(tmp_path / "figures.json")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "error: reader: of 3 events 1 are missing" in told.err
    assert not (tmp_path / "figures.json").exists()


@pytest.mark.parametrize("wrong", [("--events", "0"), ("--rounds", "0")])
def test_what_cannot_be_measured_is_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([*wrong])
    assert ended.value.code == 2
