"""Streaming jobs that are declared, against those that clusters run."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.spec.schedules import StreamSchedule
from lake.runs.basis import RunBasis
from lake.runs.submission import Attempt, Ending, Submission
from operations.drift.differences import Difference
from operations.drift.jobs import compare_jobs
from operations.drift.runs import ClusterJob, Declared, Recorded, Repository

AT = datetime(2026, 11, 2, tzinfo=UTC)
INPUT = "kafka://b:9092,a:9092/web"
OPTIONS: Mapping[str, Any] = {
    "source": "web", "input": ["kafka://a:9092,b:9092/web"], "runner": "flink", "workers": 2, "num_shards": 4, "lake": "elsewhere",
    "start": "earliest", "from_savepoint": "file:/s",
}  # fmt: skip
WANTED: Mapping[str, Any] = {"source": "web", "input": (INPUT,), "runner": "flink", "workers": 2, "num_shards": 4}
RUN = "20261102T000000000000Z-web-aaaaaa"
DECLARED = Declared(source="web", stream=StreamSchedule(input=INPUT, workers=2), options=WANTED)
SHOP = Repository(version="0.1.0", name="shop", declared={"web": DECLARED}, sources={"web", "crm"}, destinations={"cdp"})
BY_HAND = Repository(version="0.1.0", sources={"web", "crm"}, destinations={"cdp"})


def run(
    run_id: str = RUN, job: str = "j1", ended: str | None = None, argv: tuple[str, ...] = ("ingest", "web"), **more: Any
) -> Recorded:
    ending = Ending(ended, AT) if ended else None
    submission = Submission(run_id, argv, "/srv", run_id, "flink:8081", (Attempt(job, AT),), ending)
    return Recorded(submission=submission, **{"basis": RunBasis(options=OPTIONS, headrace="0.1.0"), **more})


def job(job_id: str = "j1", name: str = RUN, **more: Any) -> ClusterJob:
    return ClusterJob(**{"job_id": job_id, "name": name, "state": "RUNNING", "where": "flink:8081", "slots": 2, **more})


def compared(repository: Repository, runs: list[Recorded], jobs: list[ClusterJob]) -> list[Difference]:
    return list(compare_jobs(repository, runs, jobs))


def told(repository: Repository, runs: list[Recorded], jobs: list[ClusterJob]) -> list[tuple[str, str]]:
    return [(one.deployed, one.repository) for one in compared(repository, runs, jobs)]


@pytest.mark.parametrize("repository", [SHOP, BY_HAND])
def test_after_a_deploy_nothing_differs(repository: Repository) -> None:
    """Brokers in another order, a lake and a savepoint that only the start named, and a record as JSON are no difference."""
    assert told(repository, [run()], [job()]) == []


def test_a_stream_that_was_never_started() -> None:
    (found,) = compared(SHOP, [], [])
    assert (found.deployed, found.remedy) == ("never started", "airflow dags trigger shop.deploy.web")


@pytest.mark.parametrize(
    ("recorded", "jobs", "deployed"),
    [
        (run(), [], f"run {RUN}: its cluster lost it"),
        (run(), [job(state="FAILED", ended=True)], f"run {RUN}: its job is FAILED"),
        (run(ended="stopped"), [job(state="FINISHED", ended=True)], f"run {RUN} was stopped"),
    ],
)
def test_a_stream_that_does_not_run(recorded: Recorded, jobs: list[ClusterJob], deployed: str) -> None:
    (found,) = compared(SHOP, [recorded], jobs)
    assert found.deployed == deployed and f"headrace job status {RUN}" in found.remedy


@pytest.mark.parametrize("state", ["RUNNING", "RESTARTING", "CREATED", "INITIALIZING"])
def test_a_job_that_restarts_is_one_that_runs(state: str) -> None:
    """spotify/flink-on-k8s-operator#362: one that was taken for gone while it restarted was submitted a second time."""
    assert told(SHOP, [run()], [job(state=state)]) == []


def test_a_run_that_nobody_declared_but_the_lake() -> None:
    assert told(BY_HAND, [run()], []) == [(f"run {RUN}: its cluster lost it", "recorded in the lake, and not ended")]
    assert told(BY_HAND, [run(ended="cancelled")], []) == []


def test_a_lost_run_whose_place_another_has_taken_is_no_difference() -> None:
    newer = "20261103T000000000000Z-web-bbbbbb"
    assert told(BY_HAND, [run(newer, "j2"), run()], [job("j2", newer)]) == []


def test_a_cluster_that_is_silent_says_nothing_of_its_runs() -> None:
    silent = replace(SHOP, silent={"flink:8081"})
    assert told(silent, [run()], []) == []
    assert told(replace(BY_HAND, silent={"flink:8081"}), [run()], []) == []


def test_one_run_twice() -> None:
    """GoogleCloudPlatform/flink-on-k8s-operator#88, #147: the first submission had worked, though its client had given up."""
    (found,) = compared(SHOP, [run()], [job(), job("j2", f"{RUN}-000102")])
    assert found.deployed == "2 times: j1 (RUNNING) on flink:8081; j2 (RUNNING) on flink:8081" and found.repository == "once"
    assert f"headrace job stop {RUN}" in found.remedy


def test_two_runs_of_one_source() -> None:
    newer = "20261103T000000000000Z-web-bbbbbb"
    (found,) = compared(SHOP, [run(newer, "j2"), run()], [job(), job("j2", newer)])
    assert found.repository == "once" and f"headrace job stop {RUN}" in found.remedy


def test_two_runs_of_one_source_that_read_two_topics_are_no_difference_where_nobody_declares_one() -> None:
    other = run(
        "20261103T000000000000Z-web-bbbbbb", "j2", basis=RunBasis(options={**OPTIONS, "input": ["kafka://a:1/m"]}, headrace="0.1.0")
    )
    assert told(BY_HAND, [other, run()], [job(), job("j2", other.submission.run_id)]) == []


def test_a_job_that_is_just_being_cancelled_runs_not_twice() -> None:
    assert told(SHOP, [run()], [job(), job("j0", f"{RUN}-000001", state="CANCELLING")]) == []


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (
            StreamSchedule(input="kafka://a:9092/mobile", workers=2),
            ("reads kafka://a:9092,b:9092/web", "reads kafka://a:9092/mobile"),
        ),
        # numaproj/numaflow#3585: an autoscaler that changes it is a difference on purpose; here nothing does
        (StreamSchedule(input=INPUT, workers=4), ("takes 2 slots", "workers: 4")),
    ],
)
def test_a_job_that_reads_or_takes_something_else(stream: StreamSchedule, found: tuple[str, str]) -> None:
    shop = replace(SHOP, declared={"web": replace(DECLARED, stream=stream)})
    assert told(shop, [run()], [job()]) == [found]
    assert compared(shop, [run()], [job()])[0].remedy == "airflow dags trigger shop.upgrade.web"


def test_a_job_with_other_options() -> None:
    shop = replace(SHOP, declared={"web": replace(DECLARED, options={**WANTED, "num_shards": 8, "allowed_lateness": 60})})
    assert told(shop, [run()], [job()]) == [
        ("no --allowed-lateness", "--allowed-lateness 60"),
        ("--num-shards 4", "--num-shards 8"),
    ]


def test_a_job_of_another_version_and_of_another_contract() -> None:
    old = run(basis=RunBasis(options=OPTIONS, headrace="0.0.9"), changes=["contract 1.1.0: column city is new"])
    assert told(SHOP, [old], [job()]) == [
        ("headrace 0.0.9", "headrace 0.1.0"),
        ("works by an earlier state", "contract 1.1.0: column city is new"),
    ]
    assert f"headrace job stop {RUN}" in compared(BY_HAND, [old], [job()])[0].remedy


def test_a_run_of_which_nothing_was_noted_is_not_judged() -> None:
    assert told(SHOP, [run(basis=None)], [job()]) == []


def test_a_job_whose_source_is_gone() -> None:
    repository = replace(SHOP, sources={"crm"}, declared={})
    assert told(repository, [run()], [job()]) == [(f"run {RUN}", "no source web")]


def test_a_job_of_a_source_whose_stream_was_taken_out_of_the_schedules() -> None:
    crm = run("20261103T000000000000Z-crm-bbbbbb", "j2", argv=("ingest", "crm"))
    assert told(SHOP, [crm, run()], [job(), job("j2", crm.submission.run_id)]) == [
        (f"run {crm.submission.run_id}", "in no streams of the schedules")
    ]


def test_a_job_that_no_run_of_the_lake_started() -> None:
    stranger = job("j9", "20261103T000000000000Z-crm-cccccc")
    (found,) = compared(SHOP, [run()], [job(), stranger])
    assert found.deployed == f"job j9 ({stranger.name})" and "headrace job cancel j9" in found.remedy


@pytest.mark.parametrize("name", ["WordCount", "20261103T000000000000Z-other-cccccc", "insert-into_default"])
def test_jobs_of_others_are_theirs(name: str) -> None:
    assert told(SHOP, [run()], [job(), job("j9", name)]) == []


def test_a_bounded_run_and_a_delivery_are_no_streams() -> None:
    bounded = run("20261103T000000000000Z-crm-bbbbbb", "j2", argv=("ingest", "crm", "--until=now"))
    delivery = run("20261103T000000000000Z-deliver-cdp-bbbbbb", "j3", argv=("deliver", "cdp", "--input=kafka://a:1"))
    jobs = [job(), job("j2", bounded.submission.run_id), job("j3", delivery.submission.run_id)]
    assert told(SHOP, [bounded, delivery, run()], jobs) == []
    assert told(SHOP, [bounded, run()], [job()]) == [], "one that has ended is no difference"
    gone = replace(SHOP, destinations=())
    assert told(gone, [delivery, run()], jobs[::2]) == [(f"run {delivery.submission.run_id}", "no destination cdp")]


def test_a_job_is_a_runs_by_its_id_whatever_its_name() -> None:
    assert told(SHOP, [run()], [job(name="renamed")]) == []


def test_a_bounded_run_of_a_streamed_source_is_not_held_to_its_stream() -> None:
    bounded = run(
        "20261103T000000000000Z-web-bbbbbb", "j2", argv=("ingest", "web", "--until", "now"), basis=RunBasis(headrace="0.1.0")
    )
    assert told(SHOP, [bounded, run()], [job(), job("j2", bounded.submission.run_id, slots=8)]) == []
    catching_up = replace(bounded, basis=RunBasis(headrace="0.1.0", options=OPTIONS))
    assert told(SHOP, [catching_up, run()], [job(), job("j2", bounded.submission.run_id, slots=8)]) == []
    noted = replace(bounded, basis=RunBasis(headrace="0.1.0", options={**OPTIONS, "input": ["kafka://a:1/other"], "num_shards": 9}))
    assert told(SHOP, [noted, run()], [job(), job("j2", noted.submission.run_id, slots=8)]) == []


def test_a_run_that_noted_no_version_and_a_job_that_takes_no_slot_now() -> None:
    assert told(SHOP, [run(basis=RunBasis(options=OPTIONS, headrace=""))], [job()]) == []
    assert told(SHOP, [run()], [job(state="RESTARTING", slots=1)]) == []


def test_what_starts_and_renews_a_job_is_a_dag_only_where_there_is_one() -> None:
    plain = replace(SHOP, name="")
    assert compared(plain, [], [])[0].remedy == "headrace ingest web --runner flink --input …"
    old = run(basis=RunBasis(options=OPTIONS, headrace="0.0.9"))
    assert compared(plain, [old], [job()])[0].remedy.startswith(f"headrace job stop {RUN}")
    crm = run("20261103T000000000000Z-crm-bbbbbb", "j2", argv=("ingest", "crm"), basis=RunBasis(headrace="0.0.9"))
    found = compared(replace(SHOP, declared={}), [crm], [job("j2", crm.submission.run_id)])
    assert [one.remedy.split(",")[0] for one in found] == [f"headrace job stop {crm.submission.run_id}"]
    web = run("20261103T000000000000Z-deliver-web-bbbbbb", "j3", argv=("deliver", "web"), basis=RunBasis(headrace="0.0.9"))
    found = compared(replace(SHOP, destinations={"web"}), [web], [job("j3", web.submission.run_id)])
    assert [one.remedy.split(",")[0] for one in found if one.deployed == "headrace 0.0.9"] == [
        f"headrace job stop {web.submission.run_id}"
    ]


def test_one_run_that_is_lost_while_another_of_its_source_reads_something_else() -> None:
    other = run(
        "20261103T000000000000Z-web-bbbbbb", "j2", basis=RunBasis(options={**OPTIONS, "input": ["kafka://a:1/m"]}, headrace="0.1.0")
    )
    assert told(BY_HAND, [other, run()], [job("j2", other.submission.run_id)]) == [
        (f"run {RUN}: its cluster lost it", "recorded in the lake, and not ended")
    ]


def test_a_job_of_a_source_that_only_the_schedules_name_is_ours() -> None:
    stranger = job("j9", "20261103T000000000000Z-web-cccccc")
    assert told(replace(SHOP, sources=()), [], [stranger])[0][0].startswith("job j9")


def test_what_ends_by_itself_is_not_missed_when_it_has_ended() -> None:
    replay = run("20261103T000000000000Z-web-bbbbbb", argv=("replay", "run", "mend", "--dataset=customer_event"))
    table = run("20261103T000000000000Z-deliver-cdp-bbbbbb", argv=("deliver", "cdp", "--start=2026-11-01T00:00:00Z"))
    assert told(BY_HAND, [replay, table], []) == []
    assert told(SHOP, [replay, run()], [job(), job("j2", replay.submission.run_id)]) == [], "a replay beside the stream"
    topic = run("20261103T000000000000Z-deliver-cdp-cccccc", argv=("deliver", "cdp", "--input=kafka://a:1"))
    assert [deployed for deployed, _ in told(BY_HAND, [topic], [])] == [f"run {topic.submission.run_id}: its cluster lost it"]


def test_a_delivery_that_no_run_of_the_lake_started() -> None:
    stranger = job("j9", "20261103T000000000000Z-deliver-cdp-cccccc")
    assert [deployed for deployed, _ in told(BY_HAND, [], [stranger])] == [f"job j9 ({stranger.name})"]
