"""``headrace contract check`` and ``diff``, as people, pull requests and programs see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from contracts.evolution.avro import avro_schema
from contracts.spec.odcs import load_contract
from tests.support.git_repository import Repository
from tests.support.schema_registry import schema_registry

ROOT = Path(__file__).parents[3]
_ORDER = (ROOT / "contracts" / "datasets" / "order.v1.yaml").read_text()
_SOURCE = (ROOT / "examples" / "webshop" / "sources" / "orders.yaml").read_text()
_PROJECT = "datasets: [datasets]\nconsumers: {order: [{name: revenue dashboard}]}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "shop")
    for path, text in (("headrace.yaml", _PROJECT), ("datasets/order.v1.yaml", _ORDER), ("sources/orders.yaml", _SOURCE)):
        made.commit(path, text)
    monkeypatch.chdir(made.folder)
    return made


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["contract", *arguments])


def _edit(repository: Repository, path: str, *edits: tuple[str, str]) -> None:
    file = repository.folder / path
    text = file.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    file.write_text(text)


_BREAK = (("version: 1.0.0", "version: 1.1.0"), ("minLength: 1, maxLength: 256", "minLength: 1, maxLength: 64"))


def test_nothing_that_changed_is_no_break(repository: Repository) -> None:
    done = _run("check", "--against-git", "HEAD")
    assert done.exit_code == 0
    assert done.output == "order.v1: unchanged, 1.0.0 against 1.0.0\n"


def test_a_break_says_for_whom_and_what_to_do_and_is_exit_1(repository: Repository) -> None:
    _edit(repository, "datasets/order.v1.yaml", *_BREAK)
    done = _run("check", "order", "--against-git", "HEAD")
    assert done.exit_code == 1
    assert done.output == (
        "order.v1: BREAKS, 1.1.0 against 1.0.0, BACKWARD_TRANSITIVE; version: needs a major step, has a minor step\n"
        "  breaks  customer_id is at most 64 characters, was at most 256 characters\n"
        "          for producers\n"
        "          source orders fills it from customer_id\n"
        "          do: have every producer keep the new rule of customer_id first; what does not is a dead letter, "
        "also in a replay\n"
        "  version: 1.1.0 after 1.0.0, but the change needs 2.0.0 in a file of its own, order.v2.yaml, beside this one\n"
    )


def test_a_pull_request_shows_each_change_beside_its_line(repository: Repository) -> None:
    _edit(repository, "datasets/order.v1.yaml", *_BREAK)
    done = _run("check", "--against-git", "HEAD", "--format", "github")
    assert done.exit_code == 1
    lines = (repository.folder / "datasets/order.v1.yaml").read_text().splitlines()
    customer = next(number for number, line in enumerate(lines, 1) if "name: customer_id" in line)
    version = lines.index("version: 1.1.0") + 1
    assert [line.rpartition("::")[0] for line in done.output.splitlines()] == [
        f"::error file=datasets/order.v1.yaml,line={customer},title=order.v1%3A breaks 1.0.0",
        f"::error file=datasets/order.v1.yaml,line={version},title=order.v1%3A version",
    ]


def test_a_compatible_change_passes_with_the_version_that_tells_it(repository: Repository) -> None:
    line = "      - {name: items,"
    _edit(repository, "datasets/order.v1.yaml", (line, f"      - {{name: note, logicalType: string}}\n{line}"))
    refused = _run("check", "--against-git", "HEAD")
    assert refused.exit_code == 1
    assert "version: 1.0.0 after 1.0.0, but the change needs 1.1.0\n" in refused.output
    _edit(repository, "datasets/order.v1.yaml", ("version: 1.0.0", "version: 1.1.0"))
    assert _run("check", "--against-git", "HEAD").exit_code == 0


def test_modes_are_held_against_every_earlier_version(repository: Repository) -> None:
    wider = ("maxLength: 256", "maxLength: 512"), ("version: 1.0.0", "version: 1.1.0")
    _edit(repository, "datasets/order.v1.yaml", *wider)
    repository.commit("x", "")
    narrower = ("maxLength: 512", "maxLength: 300"), ("version: 1.1.0", "version: 1.2.0")
    _edit(repository, "datasets/order.v1.yaml", *narrower)
    done = _run("check", "--against-git", "HEAD", "--format", "json")
    (order,) = json.loads(done.output)
    assert order["against"] == ["1.1.0", "1.0.0"]
    assert [(change["code"], change["forbidden_since"]) for change in order["changes"]] == [("max_length_tightened", "1.1.0")]
    assert order["changes"][0]["readers"] == [{"kind": "source", "name": "orders", "how": "fills it from customer_id"}]


def test_a_contract_that_is_gone_breaks_its_readers(repository: Repository) -> None:
    (repository.folder / "datasets/order.v1.yaml").unlink()
    done = _run("check", "--against-git", "HEAD")
    assert done.exit_code == 1
    assert (
        done.output.splitlines()[0] == "order.v1: BREAKS: the contract is gone, and it is not deprecated with a date that is over"
    )
    assert "consumer revenue dashboard reads the dataset (headrace.yaml)" in done.output


def test_a_new_contract_has_nothing_to_break(repository: Repository) -> None:
    (repository.folder / "datasets/order.v2.yaml").write_text(_ORDER.replace("version: 1.0.0", "version: 2.0.0"))
    done = _run("check", "order.v2", "--against-git", "HEAD")
    assert (done.exit_code, done.output) == (0, "order.v2: new, nothing to compare with\n")


def test_a_mapping_that_changes_without_a_revision_is_told(repository: Repository) -> None:
    _edit(repository, "sources/orders.yaml", ("customer_id: customer_id", "customer_id: customer.id"))
    done = _run("check", "--against-git", "HEAD")
    assert done.exit_code == 0
    assert "source orders: columns (customer_id) changed, and revision is still 1; give it revision: 2" in done.output
    assert "::warning file=sources/orders.yaml,line=1," in _run("check", "--against-git", "HEAD", "--format", "github").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("check",), "against what? give one of --against-git REF"),
        (("check", "--against-git", "HEAD", "--against-lake"), "against what?"),
        (("check", "--against-git", "nope"), "git knows no commit 'nope'"),
        (("check", "ordr", "--against-git", "HEAD"), "no contract 'ordr'; there is: order.v1"),
        (("diff", "order"), "between what?"),
        (("diff", "order", "x.yaml", "--against-git", "HEAD"), "between what?"),
        (("diff", "nowhere.yaml", "x.yaml"), "no such file"),
    ],
)
def test_wrong_use_is_a_sentence_and_exit_2(repository: Repository, arguments: tuple[str, ...], told: str) -> None:
    done = _run(*arguments)
    assert done.exit_code == 2
    assert told in done.output


def test_diff_is_a_changelog_in_words(repository: Repository) -> None:
    edits = ("item_count, logicalType: integer", "item_count, description: How many, logicalType: integer"), *_BREAK
    line = "      - {name: items,"
    _edit(repository, "datasets/order.v1.yaml", *edits, (line, f"      - {{name: note, logicalType: string}}\n{line}"))
    done = _run("diff", "order", "--against-git", "HEAD")
    assert done.output == (
        "order 1.0.0 to 1.1.0\n\nBreaking\n"
        "- customer_id is at most 64 characters, was at most 256 characters, for producers\n"
        "  Do: have every producer keep the new rule of customer_id first; what does not is a dead letter, also in a replay.\n"
        "\nCompatible\n- note is new: string\n"
        "\nDocumentation\n- item_count is described anew\n"
    )
    (repository.folder / "old.yaml").write_text(_ORDER)
    assert _run("diff", "old.yaml", "datasets/order.v1.yaml").output == done.output


def test_a_lake_tells_by_which_contracts_its_tables_were_filled(repository: Repository, tmp_path: Path) -> None:
    data = tmp_path / "orders.csv"
    data.write_text("")
    lake = str(tmp_path / "lake")
    _ingest(data, lake)
    same = _run("check", "--against-lake", "--lake", lake)
    assert (same.exit_code, same.output) == (0, "order.v1: unchanged, 1.0.0 against 1.0.0\n")
    _edit(repository, "datasets/order.v1.yaml", *_BREAK)
    done = _run("check", "--against-lake", "--lake", lake)
    assert done.exit_code == 1 and "breaks  customer_id is at most 64 characters" in done.output
    _ingest(data, lake)
    again = _run("check", "--against-lake", "--lake", lake)
    assert again.exit_code == 1 and "1.1.0 against 1.1.0, 1.0.0" in again.output
    assert len(list(Path(lake, "_contracts", "order").iterdir())) == 2


def _ingest(data: Path, lake: str) -> None:
    command = [sys.executable, "-m", "cli.main", "ingest", "orders", "--input", str(data), "--lake", lake]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "nothing was read" in done.stdout, done.stderr


def test_a_registry_tells_what_its_schemas_do_not_allow(repository: Repository) -> None:
    subject = "headrace.validated.order-value"
    path = repository.folder / "datasets/order.v1.yaml"
    with schema_registry() as registry:
        registry.put(subject, avro_schema(load_contract(path)))
        same = _run("check", "--against-registry", registry.url)
        assert (same.exit_code, same.output) == (0, "order.v1: unchanged, 1.0.0 against registry version 1\n")
        _edit(repository, "datasets/order.v1.yaml", ("{name: items,", "{name: items, required: true,"))
        done = _run("check", "order", "--against-registry", registry.url)
        assert done.exit_code == 1
        told = "data of the registered schema cannot be read by the contract's: items is string, and null or string in the data"
        assert f"  breaks  {told}" in done.output.splitlines()
        registry.put(subject, {"type": "object"}, "JSON")
        told = _run("check", "order", "--against-registry", registry.url).output
        assert f"note: order.v1: version 2 of subject {subject} is not compared: it is JSON, not Avro" in told
    assert _run("check", "order", "--against-registry", "ftp://x").exit_code == 2
