"""Topics that jobs need, against those of a cluster."""

from typing import Any

import pytest

from operations.drift.topics import DeployedTopic, WantedTopic, compare_topics

HAS = DeployedTopic(topic_id="id-1", partitions=4, retention_s=86_400, earliest={0: 0, 1: 0})


def wanted(**more: Any) -> WantedTopic:
    given = {"name": "web", "role": "input of web", "partitions": 4, "topic_id": "id-1", "need_s": 3_600, "renew": "renew it"}
    return WantedTopic(**{**given, **more})


def told(topic: WantedTopic, have: DeployedTopic | None = HAS) -> list[tuple[str, str]]:
    found = compare_topics("kafka:9092", [topic], {} if have is None else {"web": have})
    return [(one.deployed, one.repository) for one in found]


def test_as_it_was_when_its_job_started() -> None:
    assert told(wanted(landed={0: 7, 1: 9})) == []


def test_one_that_is_not_there() -> None:
    assert told(wanted(), None) == [("not there", "input of web")]


@pytest.mark.parametrize("partitions", [8, 2])
def test_other_partitions_than_when_its_job_started(partitions: int) -> None:
    """apache/druid#5020: ten tasks, twenty partitions, and ten of them unread. spring-cloud/spring-cloud-stream#509: fewer."""
    have = DeployedTopic(topic_id="id-1", partitions=partitions)
    assert told(wanted(), have) == [(f"{partitions} partitions", "input of web: 4 when its job started")]


def test_one_that_was_made_again_under_its_name() -> None:
    (found,) = compare_topics("kafka:9092", [wanted()], {"web": DeployedTopic(topic_id="id-2", partitions=4)})
    assert found.deployed == "made again (id-2)" and found.remedy.startswith("renew it")


def test_a_retention_that_is_shorter_than_the_interval_that_is_read() -> None:
    (found,) = compare_topics("kafka:9092", [wanted(need_s=90_000)], {"web": HAS})
    assert (found.deployed, found.repository) == ("kept for 1d", "input of web: needed for 25h")
    assert "retention.ms=180000000" in found.remedy


@pytest.mark.parametrize("retention_s", [None, 90_000, 1e12])
def test_a_retention_that_is_long_enough_is_no_difference_whoever_sets_it(retention_s: float | None) -> None:
    """confluentinc/terraform-provider-confluent#99, Mongey/terraform-provider-kafka#407: a broker's default, shown as drift."""
    assert told(wanted(need_s=90_000), DeployedTopic(topic_id="id-1", partitions=4, retention_s=retention_s)) == []


def test_offsets_that_are_gone_before_they_were_read() -> None:
    have = DeployedTopic(topic_id="id-1", partitions=4, earliest={0: 7, 1: 10, 2: 5})
    assert told(wanted(landed={0: 7, 1: 9}), have) == [("offsets are gone: [1] 9 to 10", "input of web: they were not read yet")]


def test_a_size_that_keeps_less_than_the_interval_that_is_read() -> None:
    """By its time the topic would keep enough."""
    have = DeployedTopic(topic_id="id-1", partitions=4, retention_s=86_400, retention_bytes=1_000, cut={3_600: [1, 3], 60: []})
    (found,) = compare_topics("kafka:9092", [wanted()], {"web": have})
    assert found.deployed == "1,000 bytes a partition (retention.bytes): [1]; [3] keep less"
    assert found.repository == "input of web: needed for 1h" and "retention.bytes=4000" in found.remedy
    assert told(wanted(need_s=60), have) == [] == told(wanted(need_s=None), have)


def test_of_a_job_that_does_not_run_only_that_its_topic_is_there() -> None:
    assert told(wanted(partitions=None, topic_id=None, need_s=None)) == []


def test_commands_say_how_many_partitions_and_for_how_long() -> None:
    def remedy(topic: WantedTopic) -> str:
        (found,) = compare_topics("kafka:9092", [topic], {})
        return found.remedy

    assert remedy(wanted()).endswith("--create --topic web --partitions 4")
    assert remedy(wanted()).count("kafka-topics.sh") == 1
    assert remedy(wanted(partitions=None)).endswith("--partitions N")
    assert told(wanted(), DeployedTopic(topic_id="id-1", partitions=4, retention_s=0)) == [
        ("kept for 0s", "input of web: needed for 1h")
    ]
    assert told(wanted(), DeployedTopic(topic_id="id-1", partitions=4, retention_s=0.5))[0][0] == "kept for 0.5s"
