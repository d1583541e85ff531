"""``headrace deliver`` and whose fault a failure is: one event, answers that are no 200, a key with a newline."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest

from devstack.cdp.component import WRITE_KEY
from lake.location import Lake
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample
from transforms.deliver.letters import refused_letters

COUNT = 100
BAD = 37


def with_a_nul(sample: Sample) -> Sample:
    """One user id holds what PostgreSQL cannot: RudderStack answers 500 to every batch with it (rudder-server#4161, #5882)."""
    lines = list(sample.lines)
    lines[BAD] = lines[BAD].replace(f'"userId": "{sample.users[BAD]}"', '"userId": "u\\u0000"')
    return replace(sample, lines=lines)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = DeliveryProject(tmp_path_factory.mktemp("shop"))
    project.ingest(with_a_nul(Sample.of(COUNT, users=30, consents=(1, 0, 0, 0, 0, 0))))
    assert isinstance(project.lake, Path)
    return project.lake


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path, lake: Path) -> DeliveryProject:
    """Of each test its own destination, so that they can share a lake."""
    name = f"cdp_{abs(hash(request.node.name))}"
    return DeliveryProject(tmp_path, name=name, lake=lake, patience_s=2, linger_s=0.1)


@pytest.fixture
def cdp() -> Iterator[CdpEndpoint]:
    with CdpEndpoint.started() as started:
        yield started


def deliver(project: DeliveryProject, cdp: CdpEndpoint | None, *options: str, code: int = 0) -> Any:
    return project.invoke(cdp, "deliver", project.name, *RANGE, *options, code=code)


def letters(project: DeliveryProject) -> list[str]:
    """Events of refusals."""
    return list(refused_letters(Lake.at(str(project.lake)), project.name).column("event_id").to_pylist())


def limit(project: DeliveryProject, **limits: float) -> None:
    project.write(project.spec | {"limits": {**project.spec["limits"], **limits}})


@pytest.mark.parametrize("status", [500, 403])
def test_one_poisonous_event_is_refused_and_all_others_arrive(project: DeliveryProject, cdp: CdpEndpoint, status: int) -> None:
    cdp.faults(poison="\\u0000", poison_status=status)
    manifest = deliver(project, cdp, code=1)
    assert len(cdp.message_ids()) == manifest["counts"]["delivered"] == COUNT - 1
    assert letters(project) == [f"e-7-{BAD:07d}"]
    told = project.invoke(None, "deadletter", "list", "--code", "refused", "--source", project.name)
    assert f"HTTP {status}" in str(told[0]["violations"])
    assert manifest["counts"]["refused"] == 1
    assert cdp.counters()["repeats"] <= ceil(log2(COUNT)) + 5, "sent again, as proofs"
    cdp.clear()
    again = deliver(project, cdp, "--rows", "refused", code=1)  # alone, by a new process: what was delivered before is proof
    assert (again["counts"]["refused"], letters(project)) == (1, [f"e-7-{BAD:07d}"])
    cdp.faults()
    assert deliver(project, cdp, "--rows", "refused")["counts"]["delivered"] == 1
    assert letters(project) == []


@pytest.mark.parametrize("status", [500, 403])
def test_the_same_where_each_request_holds_one_event(project: DeliveryProject, cdp: CdpEndpoint, status: int) -> None:
    limit(project, batch_events=1, in_flight=1, requests_per_s=500)
    cdp.faults(poison='"e-7-0000000"', poison_status=status)
    manifest = deliver(project, cdp, code=1)
    assert manifest["counts"]["delivered"] == len(cdp.message_ids()) == COUNT - 1
    assert letters(project) == ["e-7-0000000"]


def test_where_nothing_is_known_to_be_good_a_run_ends_with_what_it_cannot_tell_and_a_probe_tells(
    tmp_path: Path, cdp: CdpEndpoint
) -> None:
    alone = DeliveryProject(tmp_path, patience_s=1)
    alone.ingest(Sample.of(1, consents=(1, 0, 0, 0, 0, 0)))
    cdp.faults(poison='"e-7-0000000"')
    told = deliver(alone, cdp, "--give-up-after", "3s", code=3)
    assert "is down (http_500)" in told
    assert "Or one event is to blame: nothing that it takes is known to tell by" in told
    alone.write(alone.spec | {"probe": {"type": "track", "event": "Headrace Probe", "userId": "headrace-probe"}})
    assert deliver(alone, cdp, "--give-up-after", "30s", code=1)["counts"]["refused"] == 1
    assert cdp.message_ids() == [f"headrace-probe-{alone.name}"]
    cdp.alter(cdp.message_ids()[0], {"type": "track", "timestamp": "2026-11-02T09:00:00Z"})
    assert alone.invoke(cdp, "reconcile", alone.name, *RANGE)["classes"]["extra"] == 0


@contextmanager
def accepting(status: int, body: bytes) -> Iterator[tuple[str, Counter[str]]]:
    """An endpoint that answers so to everything; how often each event came."""
    came: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            plain = gzip.decompress(raw) if self.headers["Content-Encoding"] == "gzip" else raw
            came.update(event["messageId"] for event in json.loads(plain)["batch"])
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/batch", came
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "body"), [(202, b'{"success":true}'), (201, b"accepted"), (204, b"")])
def test_every_2xx_is_delivered_and_nothing_is_sent_twice(project: DeliveryProject, status: int, body: bytes) -> None:
    with accepting(status, body) as (url, came):
        project.write(project.spec | {"endpoint": url})
        assert deliver(project, None, "--give-up-after", "15s")["counts"]["delivered"] == COUNT
    assert set(came.values()) == {1}
    assert len(came) == COUNT


@pytest.mark.parametrize("body", [b"<html>log in</html>", b'{"success": false}'])
def test_a_200_that_is_a_page_or_says_failed_is_never_taken_for_delivered_and_ends_with_a_reason(
    project: DeliveryProject, body: bytes
) -> None:
    with accepting(200, body) as (url, came):
        project.write(project.spec | {"endpoint": url})
        assert "is down (wrong_answer)" in deliver(project, None, "--give-up-after", "3s", code=3)
    assert letters(project) == []
    assert came


@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_newline_behind_the_write_key_is_no_part_of_it(
    project: DeliveryProject, cdp: CdpEndpoint, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.folder / "write-key").write_text(f"{WRITE_KEY}\n")
    monkeypatch.setenv("POISON_TEST_KEY", f"{WRITE_KEY}\n")
    if kind == "env":
        project.write(project.spec | {"credentials": {"write_key": "env:POISON_TEST_KEY"}})
    assert deliver(project, cdp)["counts"]["delivered"] == COUNT
    monkeypatch.setenv("POISON_TEST_KEY", "\n")
    (project.folder / "write-key").write_text("\n")
    assert "credentials:" in deliver(project, cdp, "--rows", "all", code=2)
