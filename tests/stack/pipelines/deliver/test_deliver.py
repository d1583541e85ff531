"""``headrace deliver`` from a table to a real endpoint: what leaves, what does not and why, and what a second run does."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lake.location import Lake
from lake.tables.letter_history import HISTORY
from tests.support.cdp import CdpEndpoint
from tests.support.deliveries import RANGE, DeliveryProject, Sample, arrived
from transforms.deliver.letters import refused_letters


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample.of(1_500, users=60)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, sample: Sample) -> Path:
    project = DeliveryProject(tmp_path_factory.mktemp("shop"))
    project.ingest(sample)
    return project.lake


@pytest.fixture
def project(tmp_path: Path, lake: Path) -> DeliveryProject:
    """Of each test its own, with a destination of its own, so that they can share a lake."""
    return DeliveryProject(tmp_path, name=f"cdp_{time.time_ns()}", lake=lake, batch_bytes=60_000)


@pytest.fixture
def cdp() -> Iterator[CdpEndpoint]:
    with CdpEndpoint.started() as started:
        yield started


def deliver(project: DeliveryProject, cdp: CdpEndpoint | None, *options: str, code: int = 0) -> Any:
    return project.invoke(cdp, "deliver", project.name, *options, code=code)


def counts(manifest: dict[str, Any]) -> dict[str, int]:
    return dict(manifest["counts"])


def change(project: DeliveryProject, **keys: Any) -> None:
    project.write(project.spec | keys)


def test_what_consent_allows_arrives_in_order_and_the_rest_is_counted_by_reason(
    project: DeliveryProject, sample: Sample, cdp: CdpEndpoint
) -> None:
    manifest = deliver(project, cdp, *RANGE)
    assert arrived(cdp) == sample.order_of_users()
    reasons = Counter(sample.withheld.values())
    assert set(reasons) == {"consent_denied:analytics", "consent_unknown:analytics"}
    expected = {f"withheld:{reason}": count for reason, count in reasons.items()}
    assert counts(manifest) == {"delivered": len(sample.delivered), **expected}
    assert cdp.counters()["repeats"] == 0


@pytest.mark.parametrize("needed", [[], ["marketing"], ["analytics", "marketing"]])
def test_every_category_that_is_needed_must_be_true(
    needed: list[str], project: DeliveryProject, sample: Sample, cdp: CdpEndpoint
) -> None:
    change(project, consent=needed)
    deliver(project, cdp, *RANGE)
    choices = [payload.get("context", {}).get("consent", {}).get("categoryPreferences", {}) for payload in sample.payloads]
    expected = {i for i, choice in zip(sample.ids, choices, strict=True) if all(choice.get(c) is True for c in needed)}
    assert set(cdp.message_ids()) == expected
    assert expected or needed == ["analytics", "marketing"]


def test_a_second_run_sends_nothing_again(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    deliver(project, cdp, *RANGE)
    requests = cdp.counters()["requests"]
    manifest = deliver(project, cdp, *RANGE)
    assert cdp.counters()["requests"] == requests
    assert counts(manifest)["before"] == len(sample.delivered)
    assert "delivered" not in counts(manifest)


def test_a_second_run_sends_what_came_since(tmp_path: Path, sample: Sample, cdp: CdpEndpoint) -> None:
    project = DeliveryProject(tmp_path)
    project.ingest(sample)
    deliver(project, cdp, *RANGE)
    more = Sample.of(200, seed=99)
    project.ingest(more)
    assert counts(deliver(project, cdp, *RANGE))["delivered"] == len(more.delivered)
    assert set(cdp.message_ids()) == sample.delivered | more.delivered
    assert cdp.counters()["repeats"] == 0


def test_rows_all_sends_everything_once_more_under_the_same_ids(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    deliver(project, cdp, *RANGE)
    assert counts(deliver(project, cdp, *RANGE, "--rows", "all"))["delivered"] == len(sample.delivered)
    assert cdp.counters()["repeats"] == len(sample.delivered)


def test_a_range_is_of_the_window_time(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    halves = (("2026-11-02T08:00:00Z", "2026-11-02T09:13:00Z"), ("2026-11-02T09:13:00Z", "2026-11-02T13:00:00Z"))
    delivered = [counts(deliver(project, cdp, "--start", a, "--end", b))["delivered"] for a, b in halves]
    assert min(delivered) > 0
    assert sum(delivered) == len(sample.delivered)
    assert arrived(cdp) == sample.order_of_users()


def test_a_filter_and_suppressed_ids(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    change(project, filter=[{"column": "event_name", "not_in": ["Product Viewed 3"]}])
    user = sample.users[0]
    folder = project.folder / "policies" / "suppressions"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(user.encode()).hexdigest()
    (folder / "forgotten.yaml").write_text(yaml.safe_dump({"dataset": "customer_event", "column": "user_id", "sha256": [digest]}))
    manifest = deliver(project, cdp, *RANGE)
    unwanted = {p["messageId"] for p in sample.payloads if p["event"] == "Product Viewed 3"}
    forgotten = {i for i, u in zip(sample.ids, sample.users, strict=True) if u == user} - unwanted
    assert set(cdp.message_ids()) == sample.delivered - unwanted - forgotten
    assert counts(manifest)["filtered"] == len(unwanted)
    assert counts(manifest)["withheld:suppressed"] == len(forgotten)


def test_only_named_columns_leave(project: DeliveryProject, cdp: CdpEndpoint) -> None:
    columns = {"event_id": "messageId", "event_type": "type", "event_name": "event", "user_id": "userId"}
    change(project, columns=columns, constants={})
    deliver(project, cdp, *RANGE)
    assert {key for row in cdp.ledger() for key in row["event"]} == set(columns.values())


def test_what_is_refused_has_a_letter_and_goes_when_it_is_mended(
    project: DeliveryProject, sample: Sample, cdp: CdpEndpoint
) -> None:
    change(project, limits={**project.spec["limits"], "event_bytes": 500})
    big = {row["event_id"] for row in refused(deliver(project, cdp, *RANGE, code=1), project)}
    assert 0 < len(big) < len(sample.delivered)
    assert set(cdp.message_ids()) == sample.delivered - big
    again = deliver(project, cdp, *RANGE)  # what has a final answer is not asked again
    assert "refused" not in counts(again)
    change(project, limits={**project.spec["limits"], "event_bytes": 32_000})
    assert counts(deliver(project, cdp, *RANGE, "--rows", "refused"))["delivered"] == len(big)
    assert set(cdp.message_ids()) == sample.delivered
    assert refused(None, project) == []
    assert counts(deliver(project, cdp, *RANGE))["before"] == len(sample.delivered)


def test_what_is_refused_is_sent_again_by_its_letters(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    """In the range of the letters, by the same delivery; a line in the history for each."""
    change(project, limits={**project.spec["limits"], "event_bytes": 500})
    big = {row["event_id"] for row in refused(deliver(project, cdp, *RANGE, code=1), project)}
    reprocess = ("deadletter", "reprocess", "--destination", project.name)
    assert project.invoke(cdp, *reprocess, "--dry-run")["refused"] == len(big)
    assert project.invoke(cdp, *reprocess, "--reason", "a test", code=1)["left"] == len(big)
    change(project, limits={**project.spec["limits"], "event_bytes": 32_000})
    told = project.invoke(cdp, *reprocess, "--reason", "a test")
    assert (told["refused"], told["left"]) == (len(big), 0)
    assert set(cdp.message_ids()) == sample.delivered and refused(None, project) == []
    lines = Lake.at(str(project.lake)).load(HISTORY).scan().to_arrow().to_pylist()
    outcomes = Counter((line["attempt"], line["outcome"]) for line in lines if line["source"] == project.name)
    assert outcomes == {(2, "still_failing"): len(big), (3, "recovered"): len(big)}


def test_only_the_letters_that_are_asked_for_are_sent_again(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    change(project, limits={**project.spec["limits"], "event_bytes": 500})
    big = {row["event_id"] for row in refused(deliver(project, cdp, *RANGE, code=1), project)}
    change(project, limits={**project.spec["limits"], "event_bytes": 32_000})
    letters = [
        one["dead_letter_id"] for one in project.invoke(None, "deadletter", "list", "--source", project.name, "--limit", "9")
    ]
    why = ("--reason", "a test")
    assert project.invoke(None, "deadletter", "close", "--id", letters[0], "--by", "ada", *why)["closed"] == 1
    reprocess = ("deadletter", "reprocess", "--destination", project.name, *why)
    assert "leave out --source web" in project.invoke(cdp, *reprocess, "--source", "web", code=2)
    assert "leave out --samples, --workers" in project.invoke(cdp, *reprocess, "--samples", "1", "--workers", "2", code=2)
    told = project.invoke(cdp, *reprocess, "--id", letters[1])
    assert (told["refused"], told["left"], len(set(cdp.message_ids()))) == (1, 0, len(sample.delivered - big) + 1)
    told = project.invoke(cdp, *reprocess)
    assert (told["refused"], told["left"], len(set(cdp.message_ids()))) == (len(big) - 2, 0, len(sample.delivered) - 1)
    (closed,) = project.invoke(None, "deadletter", "list", "--source", project.name, "--state", "closed")
    assert closed["dead_letter_id"] == letters[0]


def refused(manifest: dict[str, Any] | None, project: DeliveryProject) -> list[dict[str, Any]]:
    """The letters, with the ids of their events, which the command hides."""
    letters = project.invoke(None, "deadletter", "list", "--code", "refused", "--source", project.name, "--limit", "100000")
    rows: list[dict[str, Any]] = refused_letters(Lake.at(str(project.lake)), project.name).to_pylist()
    assert len(letters) == len(rows)
    assert all(letter["stage"] == "deliver" and letter["violations"][0]["rule"] == "delivery" for letter in letters)
    if manifest:
        assert counts(manifest)["refused"] == len(rows)
    return rows


def test_a_bad_event_in_a_full_batch_is_found_and_costs_no_other(
    project: DeliveryProject, sample: Sample, cdp: CdpEndpoint
) -> None:
    cdp.faults(script=["partial"] * 5, seed=5, partial_share=0.02, partial_statuses=[400])
    manifest = deliver(project, cdp, *RANGE, code=1)
    lost = len(sample.delivered) - len(cdp.message_ids())
    assert lost == counts(manifest)["refused"] == len(refused(None, project)) > 0


def test_wrong_credentials_refuse_no_event(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    (project.folder / "write-key").write_text("another")
    change(project, limits={**project.spec["limits"], "patience_s": 1})
    told = deliver(project, cdp, *RANGE, code=3)
    assert "is down (unauthorised); check endpoint and credentials" in told
    assert refused(None, project) == []
    (project.folder / "write-key").write_text(cdp.write_key)
    assert counts(deliver(project, cdp, *RANGE))["delivered"] == len(sample.delivered)


def test_a_destination_that_is_down_ends_a_run_after_its_time(project: DeliveryProject, sample: Sample, cdp: CdpEndpoint) -> None:
    change(project, limits={**project.spec["limits"], "patience_s": 1})
    cdp.faults(down="refuse")
    told = deliver(project, cdp, *RANGE, "--give-up-after", "3s", code=3)
    assert "is down (reset)" in told
    assert "run the same command again" in told
    cdp.faults()
    assert counts(deliver(project, cdp, *RANGE))["delivered"] == len(sample.delivered)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "a range of the table needs both, as times"),
        (("--start", "2026-11-03T00:00:00Z", "--end", "2026-11-02T00:00:00Z"), "--end: is not after --start"),
        ((*RANGE, "--until", "now"), "--until: with --input kafka"),
        (("--input", "gs://x/y"), "--input: expected kafka://"),
        ((*RANGE, "--requests-per-s", "51"), "takes 50"),
        ((*RANGE, "--workers", "2"), "--workers: with --runner flink only"),
        ((*RANGE, "--lake", "nowhere"), "no lake at"),
    ],
)
def test_wrong_use_is_told_before_anything_is_sent(options: tuple[str, ...], told: str, project: DeliveryProject) -> None:
    assert told in deliver(project, None, *options, code=2)
    assert not (project.lake / "deliveries" / project.name).exists()


def test_an_unknown_destination_is_told_with_the_nearest(project: DeliveryProject) -> None:
    assert "did you mean segment?" in project.invoke(None, "deliver", "segmnet", *RANGE, code=2)


def test_a_missing_credential_is_told(project: DeliveryProject) -> None:
    (project.folder / "write-key").unlink()
    assert "write-key cannot be read" in deliver(project, None, *RANGE, code=2)


def test_an_empty_range_is_delivered(project: DeliveryProject, cdp: CdpEndpoint) -> None:
    manifest = deliver(project, cdp, "--start", "2020-01-01T00:00:00Z", "--end", "2020-01-02T00:00:00Z")
    assert counts(manifest) == {}


def test_rudderstack_is_another_dialect_behind_the_same_interface(
    project: DeliveryProject, sample: Sample, cdp: CdpEndpoint
) -> None:
    change(project, type="rudderstack", endpoint=f"{cdp.rudderstack}/v1/batch")
    deliver(project, cdp, *RANGE)
    assert arrived(cdp) == sample.order_of_users()
