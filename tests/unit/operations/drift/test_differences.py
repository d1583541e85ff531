"""What every comparison shares: order, exit code, and secrets that are never shown."""

import json
import random

import pytest

from operations.drift.differences import Difference, Drift, Kind, Looked, NotCompared, listed, without_secrets


def difference(what: str = "topic t", kind: Kind = Kind.TOPICS, deployed: str = "3", **more: object) -> Difference:
    given = {"where": "here", "repository": "4", "remedy": "do", **more}
    return Difference(kind=kind, what=what, deployed=deployed, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:hunter2@db/cdp",
        "postgres://user:p@ss/hunter2@db.example.com:5432/db",  # ariga/terraform-provider-atlas#86: no URL that can be parsed
        "kafka://me:hunter2@broker:9093/web",
        "https://host/hook?token=hunter2&x=1",
        "https://host/blob?sv=1&Signature=hunter2",  # hashicorp/terraform-provider-azurerm#1809
        'sasl.password="hunter2 with blanks"',
        "--password=hunter2",
        "DB_PASSWORD: hunter2",  # ahmadnassri/action-terraform-report#132
        '{"SEGMENT_WRITE_KEY": "hunter2"}',
        "password: 'hunter2'",
    ],
)
def test_no_secret_is_shown_wherever_it_stands(text: str) -> None:
    assert "hunter2" not in without_secrets(text)
    one = difference(deployed=text, repository=text, remedy=text, where=text)
    down = NotCompared(kind=Kind.JOBS, where=text, why=text, down=True)
    looked = Looked(kind=Kind.JOBS, where=text, things=1)
    assert "hunter2" not in json.dumps(Drift.of([one, down, looked]).document(strict=False))


def test_half_a_secret_is_none_either() -> None:
    assert "hunter" not in listed(["x" * 130 + " https://me:hunter2hunter2hunter2@host/"])


def test_what_is_no_secret_stays() -> None:
    for text in ("kafka://a:9092,b:9092/web", "file:///srv/lake", "a@example.com", "--client-config=kafka.properties"):
        assert without_secrets(text) == text


def test_texts_steer_no_terminal() -> None:
    assert "\x1b" not in difference(what="dag \x1b[2J").what


def test_the_order_depends_on_nothing_but_what_was_found() -> None:
    """kubernetes-sigs/kustomize#4292: the same state in a random order is a difference to whoever reads it next."""
    found = [difference(f"topic {n}") for n in range(5)] + [difference(f"DAG {n}", Kind.DAGS) for n in range(5)]
    found += [Looked(kind=kind, where="x", things=1) for kind in Kind]  # type: ignore[list-item]
    shuffled = found[:]
    random.Random(7).shuffle(shuffled)
    assert Drift.of(found).document(strict=False) == Drift.of(shuffled).document(strict=False)
    assert [one.kind for one in Drift.of(shuffled).differences[:5]] == [Kind.DAGS] * 5


def test_the_same_difference_is_told_once() -> None:
    assert len(Drift.of([difference(), difference()]).differences) == 1


def test_exit_codes() -> None:
    down = NotCompared(kind=Kind.JOBS, where="flink", why="no answer", down=True)
    quiet = NotCompared(kind=Kind.JOBS, where="flink", why="no streams")
    assert Drift.of([quiet]).exit_code(strict=True) == 0
    assert Drift.of([difference()]).exit_code(strict=False) == 1
    assert Drift.of([difference(), down]).exit_code(strict=False) == 3
    pending = Drift.of([difference(pending=True)])
    assert (pending.exit_code(strict=False), pending.exit_code(strict=True)) == (0, 1)


def test_a_document_says_why_as_manifests_do() -> None:
    down = NotCompared(kind=Kind.JOBS, where="flink", why="no answer", down=True)
    verdict = Drift.of([difference(), down]).document(strict=False)["verdict"]
    assert verdict == {"exit_code": 3, "reasons": ["jobs: flink: no answer", "topics: topic t: 3; the repository: 4"]}
