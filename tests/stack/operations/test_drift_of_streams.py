"""``headrace drift`` against a real Flink and a real Kafka: one streaming job, and what becomes otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from cli.main import main
from devstack.stack import Stack
from lake.runs.submission import submissions
from tests.support.kafka import Broker, Record
from tests.support.shop import WEB, Shop, event
from tests.support.stack import cancel_jobs, flink, wait_for

SOURCE = "drifting"  # of nobody else's jobs on this cluster
PARTITIONS = 2
WITHIN_S = 300.0  # beside others
Told = list[tuple[str, str, str]]


@dataclass
class Stream:
    """A project with a stream that the schedules declare, and its job."""

    shop: Shop
    stack: Stack
    broker: Broker
    topic: str
    rows: str
    submit: Callable[[], str]
    run_id: str = ""

    def drift(self, *arguments: str) -> dict[str, Any]:
        """What is told, as a document."""
        done = self.shop.headrace("drift", "--json", *arguments)
        assert done.exit_code in (0, 1), (done.output, done.exception)
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["verdict"]["exit_code"] == done.exit_code
        return document

    def told(self, *kinds: str) -> Told:
        """What differs."""
        found = self.drift(*(word for kind in kinds for word in ("--only", kind)))["differences"]
        return [(one["what"], one["deployed"], one["repository"]) for one in found]

    @property
    def job_id(self) -> str:
        """Of the newest attempt of the run."""
        return next(run for run in submissions(self.shop.lake()) if run.run_id == self.run_id).job_ids[-1]

    def schedule(self, **changed: object) -> None:
        """Write the schedules."""
        options = ["--immediate", self.rows, "--checkpoint-every", "1s", "--commit-every", "1s", "--late-panes", "1s"]
        stream = {"input": self.broker.uri(self.topic), "workers": 1, "options": options, **changed}
        document = {
            "lake": "lake", "sources": ["sources"], "flink": self.stack.flink_rest,
            "schedules": {"name": "shop", "start": "2026-11-01", "streams": {SOURCE: stream}},
        }  # fmt: skip
        (self.shop.folder / "headrace.yaml").write_text(yaml.safe_dump(document))


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stream(stack: Stack, job_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    shop = Shop(tmp_path_factory.mktemp("drift") / "shop", spec={**WEB, "source": SOURCE})
    (shop.folder / "sources" / "web.yaml").rename(shop.folder / "sources" / f"{SOURCE}.yaml")
    broker = Broker(stack.kafka_bootstrap)

    def submit() -> str:
        words = yaml.safe_load((shop.folder / "headrace.yaml").read_text())["schedules"]["streams"][SOURCE]
        command = ["ingest", SOURCE, "--runner", "flink", "--workers", str(words["workers"]), *words["options"]]
        places = ["--input", words["input"], "--project", str(shop.folder), "--json"]
        done = CliRunner().invoke(main, [*command, *places, "--", job_server])
        assert done.exit_code == 0, done.output
        return str(json.loads(done.stdout)["run_id"])

    with broker.topic(PARTITIONS) as topic:
        rows = f"{topic}-rows"
        made = Stream(shop, stack, broker, topic, rows, submit)
        made.schedule()
        broker.send(topic, [Record(event(n, 8).encode(), partition=n % PARTITIONS) for n in range(4)])
        try:
            yield made
        finally:
            mine = [job["jid"] for job in flink(stack, "/jobs/overview")["jobs"] if f"-{SOURCE}-" in job["name"]]
            cancel_jobs(stack, *mine) if mine else None
            broker.delete(rows)


def test_a_stream_before_and_after_its_deploy(stream: Stream) -> None:
    assert stream.told("jobs", "topics") == [(f"job of {SOURCE}", "never started", f"reads {stream.broker.uri(stream.topic)}")]
    stream.run_id = stream.submit()
    wait_for(lambda: stream.told("tables") == [], "its tables", WITHIN_S)
    document = stream.drift()
    assert [one for one in document["differences"] if one["kind"] != "dags"] == []
    compared = {one["kind"]: (one["where"], one["things"]) for one in document["compared"]}
    assert compared["topics"] == (stream.broker.bootstrap, 2) and compared["jobs"][0] == stream.stack.flink_rest


def test_what_the_repository_has_otherwise(stream: Stream) -> None:
    stream.schedule(workers=2)
    assert stream.told("jobs") == [(f"job of {SOURCE}", "takes 1 slot", "workers: 2")]
    stream.schedule(input=stream.broker.uri("elsewhere"))
    assert stream.told("jobs") == [
        (f"job of {SOURCE}", f"reads {stream.broker.uri(stream.topic)}", f"reads {stream.broker.uri('elsewhere')}")
    ]
    stream.schedule(options=["--immediate", "off"])
    assert {deployed.split(" ")[0] for _, deployed, _ in stream.told("jobs")} >= {"--immediate", "--checkpoint-every"}
    stream.schedule()
    spec = stream.shop.folder / "sources" / f"{SOURCE}.yaml"
    text = spec.read_text()
    try:
        document = yaml.safe_load(text)
        spec.write_text(yaml.safe_dump({**document, "columns": {**document["columns"], "user_id": "someone"}}))
        ((what, deployed, repository),) = stream.told("jobs")
        assert (what, deployed) == (f"job of {SOURCE}", "works by an earlier state") and "columns.user_id" in repository
        spec.write_text(yaml.safe_dump({**document, "description": "other words"}))
        assert stream.told("jobs") == []
        spec.unlink()
        assert (f"job of {SOURCE}", f"run {stream.run_id}", f"no source {SOURCE}") in stream.told("jobs")
    finally:
        spec.write_text(text)


def test_what_becomes_of_its_topics(stream: Stream) -> None:
    admin = AdminClient({"bootstrap.servers": stream.broker.bootstrap})

    def retention(milliseconds: str) -> None:
        entry = ConfigEntry("retention.ms", milliseconds, incremental_operation=AlterConfigOpType.SET)
        (done,) = admin.incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, stream.topic, incremental_configs=[entry])]
        ).values()
        done.result(30)

    retention("60000")
    wait_for(lambda: stream.told("topics") != [], "the retention", WITHIN_S)
    assert stream.told("topics") == [(f"topic {stream.topic}", "kept for 1m", f"input of {SOURCE}: needed for 10m")]
    retention("-1")
    wait_for(lambda: stream.told("topics") == [], "the retention", WITHIN_S)
    stream.broker.grow(stream.topic, PARTITIONS + 2)
    assert stream.told("topics") == [(f"topic {stream.topic}", "4 partitions", f"input of {SOURCE}: 2 when its job started")]
    stream.broker.delete(stream.rows)
    assert (f"topic {stream.rows}", "not there", f"rows of {SOURCE}") in stream.told("topics")
    stream.broker.create(stream.rows, PARTITIONS)
    found = [(what, deployed.split(" (")[0]) for what, deployed, _ in stream.told("topics")]
    assert (f"topic {stream.rows}", "made again") in found


def test_a_second_job_and_one_that_is_lost(stream: Stream) -> None:
    second = stream.submit()
    ((_, deployed, repository),) = stream.told("jobs")
    assert deployed.startswith("2 times: ") and repository == "once"
    found = stream.drift("--only", "jobs")["differences"][0]["remedy"]
    assert f"headrace job stop {stream.run_id}" in found
    done = stream.shop.headrace("job", "stop", stream.run_id, "--savepoints", f"file://{stream.shop.folder}/savepoints")
    assert done.exit_code == 0, done.output
    assert stream.told("jobs", "topics") == []
    stream.run_id = second
    cancel_jobs(stream.stack, stream.job_id)
    wait_for(lambda: stream.told("jobs") != [], "the job to be gone", WITHIN_S)
    found = stream.drift("--only", "jobs")["differences"]
    assert [(one["deployed"]) for one in found] == [f"run {second}: its job is CANCELED"]
    assert "airflow dags trigger shop.deploy.drifting" in found[0]["remedy"]
