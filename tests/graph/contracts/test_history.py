"""Earlier versions out of real repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.evolution.history import GitHistory
from contracts.spec.odcs import load_contract
from tests.support.git_repository import Repository

_CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: x
name: order
version: {version}
status: active
customProperties: [{{property: kind, value: entity}}, {{property: eventId, value: {{column: id}}}}]
schema:
  - name: order
    logicalType: object
    properties:
      - {{name: id, logicalType: string, required: true}}
      - {{name: {column}, logicalType: string}}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "shop")


def _text(version: str, column: str = "note") -> str:
    return _CONTRACT.format(version=version, column=column)


def test_of_each_version_the_last_state_counts_and_the_newest_stands_last(repository: Repository) -> None:
    path = repository.folder / "order.v1.yaml"
    for version, column in (("1.0.0", "draft"), ("1.0.0", "note"), ("1.1.0", "remark"), ("1.10.0", "text")):
        repository.commit("order.v1.yaml", _text(version, column))
    found = GitHistory(repository.folder, "HEAD").contracts(path)
    assert [(c.version, c.columns[1].name) for c in found.contracts] == [("1.0.0", "note"), ("1.1.0", "remark"), ("1.10.0", "text")]
    assert found.notes == ()


def test_a_file_is_followed_through_its_earlier_names(repository: Repository) -> None:
    repository.commit("contracts/shop.v1.yaml", _text("1.0.0"))
    repository.commit("contracts/shop.v1.yaml", _text("1.0.1"))
    (repository.folder / "datasets").mkdir()
    repository.git("mv", "contracts/shop.v1.yaml", "datasets/order.v1.yaml")
    repository.git("commit", "-q", "-m", "moved")
    repository.commit("datasets/order.v1.yaml", _text("1.1.0"))
    found = GitHistory(repository.folder, "main").contracts(repository.folder / "datasets" / "order.v1.yaml")
    assert [contract.version for contract in found.contracts] == ["1.0.0", "1.0.1", "1.1.0"]


def test_what_came_after_the_commit_is_not_seen(repository: Repository) -> None:
    first = repository.commit("order.v1.yaml", _text("1.0.0"))
    repository.commit("order.v1.yaml", _text("1.1.0"))
    found = GitHistory(repository.folder, first).contracts(repository.folder / "order.v1.yaml")
    assert [contract.version for contract in found.contracts] == ["1.0.0"]


def test_a_file_that_the_commit_does_not_have_has_no_history(repository: Repository) -> None:
    repository.commit("README.md", "x")
    (repository.folder / "order.v1.yaml").write_text(_text("1.0.0"))
    git = GitHistory(repository.folder, "HEAD")
    assert git.contracts(repository.folder / "order.v1.yaml").contracts == ()
    assert git.read(repository.folder / "order.v1.yaml", load_contract) is None


def test_a_version_that_was_taken_back_still_counts(repository: Repository) -> None:
    for version in ("1.0.0", "1.1.0", "1.0.0"):
        repository.commit("order.v1.yaml", _text(version))
    found = GitHistory(repository.folder, "HEAD").contracts(repository.folder / "order.v1.yaml")
    assert [contract.version for contract in found.contracts] == ["1.1.0", "1.0.0"]


def test_an_old_state_that_cannot_be_read_is_told_and_passed_over(repository: Repository) -> None:
    broken = repository.commit(
        "order.v1.yaml", _text("1.0.0").replace("logicalType: string, required", "logicalType: text, required")
    )
    repository.commit("order.v1.yaml", _text("1.0.1"))
    found = GitHistory(repository.folder, "HEAD").contracts(repository.folder / "order.v1.yaml")
    assert [contract.version for contract in found.contracts] == ["1.0.1"]
    (note,) = found.notes
    assert f"order.v1.yaml at {broken[:10]}" in note and "/tmp" not in note


def test_the_state_that_is_asked_for_must_be_readable(repository: Repository) -> None:
    repository.commit("order.v1.yaml", "schema: [")
    with pytest.raises(ConfigurationError, match=r"order.v1.yaml at [0-9a-f]{10}: not valid YAML"):
        GitHistory(repository.folder, "HEAD").contracts(repository.folder / "order.v1.yaml")


def test_a_shallow_clone_is_told(repository: Repository, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        repository.commit("order.v1.yaml", _text(version))
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.folder}", str(tmp_path / "clone"))
    found = GitHistory(tmp_path / "clone", "HEAD").contracts(tmp_path / "clone" / "order.v1.yaml")
    assert [contract.version for contract in found.contracts] == ["1.1.0"]
    assert "fetch --unshallow" in found.notes[0]


@pytest.mark.parametrize("ref", ["nope", "--output=x", "HEAD:order.v1.yaml", "", "a b", "HEAD~99"])
def test_a_ref_that_does_not_exist_is_told(repository: Repository, ref: str) -> None:
    repository.commit("order.v1.yaml", _text("1.0.0"))
    with pytest.raises(ConfigurationError, match="git knows no commit"):
        GitHistory(repository.folder, ref)


def test_a_folder_without_a_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(ConfigurationError, match=r"finds no repository.*contract diff A B"):
        GitHistory(tmp_path / "plain", "HEAD")


def test_a_machine_without_git_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="needs git"):
        GitHistory(repository.folder, "HEAD")


def test_names_with_blanks_and_umlauts_are_found(repository: Repository) -> None:
    repository.commit("größe und mehr/order.v1.yaml", _text("1.0.0"))
    repository.commit("größe und mehr/order.v1.yaml", _text("1.1.0"))
    path = repository.folder / "größe und mehr" / "order.v1.yaml"
    git = GitHistory(repository.folder, "HEAD")
    assert len(git.contracts(path).contracts) == 2
    assert git.files(path.parent, ".yaml") == [path]
