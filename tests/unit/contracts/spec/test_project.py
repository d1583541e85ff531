"""The project file: what is found where, and what is said when it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from contracts.spec.project import BUILT_IN_DATASETS, Project

SPEC = "source: web\ndataset: contact\nformat: jsonl\ncolumns: {contact_id: id, updated_at: at}\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_paths_are_relative_to_the_project_file(tmp_path: Path) -> None:
    write(tmp_path / "headrace.yaml", "lake: data/lake\ncatalog: postgresql://db\ndatasets: [mine]\nsources: [a, /b]\n")
    assert Project.load(tmp_path) == Project(
        root=tmp_path,
        file=tmp_path / "headrace.yaml",
        lake=str(tmp_path / "data/lake"),
        catalog="postgresql://db",
        datasets=(tmp_path / "mine",),
        sources=(tmp_path / "a", Path("/b")),
        destinations=(tmp_path / "destinations",),
        policies=(tmp_path / "policies",),
    )


@pytest.mark.parametrize(("lake", "expected"), [("gs://bucket/lake", "gs://bucket/lake"), ("/lake", "/lake")])
def test_a_uri_and_an_absolute_lake_stay_as_they_are(lake: str, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "headrace.yaml", f"lake: {lake}\n")
    assert Project.load(tmp_path).lake == expected


def test_an_empty_project_file_has_the_default_folder_of_sources(tmp_path: Path) -> None:
    write(tmp_path / "headrace.yaml", "")
    folders = {name: (tmp_path / name,) for name in ("sources", "destinations", "policies")}
    assert Project.load(tmp_path) == Project(root=tmp_path, file=tmp_path / "headrace.yaml", **folders)


def test_the_file_may_be_named_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "other.yaml", "lake: l\n")
    assert Project.load(path).lake == str(tmp_path / "l")


def test_the_project_is_found_above_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "headrace.yaml", "lake: l\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert Project.load().root == tmp_path


def test_without_a_project_the_working_directory_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "web.yaml", SPEC)
    project = Project.load()
    assert project == Project(
        root=tmp_path, sources=(tmp_path / "sources", tmp_path), destinations=(tmp_path / "destinations", tmp_path)
    )
    assert project.source("web")[0].name == "web"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lake: [", "not valid YAML"),
        (
            "- lake",
            "expected a mapping with some of catalog, consumers, datasets, destinations, files, flink, lake, policies, registry",
        ),
        (
            "lake: x\nlakes: x",
            "headrace.yaml:2: no key 'lakes'; known: catalog, consumers, datasets, destinations, files, flink, lake, policies",
        ),
        ("lake: 5", "lake: expected a text"),
        ("catalog: [a]", "catalog: expected a text"),
        ("flink: 28081", "flink: expected a text"),
        ("files: everybody", "files: expected private or group"),
        ("sources: here", "sources: expected a list of folders"),
        ("datasets: here", "datasets: expected a list of folders"),
        ("replay: {maxRows: x, maxAge: y}", "headrace.yaml:1: replay.maxRows: 'x' is not a whole number"),
        ("replay: {maxAge: y}", "replay.maxAge: 'y' is no duration such as 90d"),
        ("consumers: {order: [audiences]}", "consumers.order[0]: expected {name: …, columns: [...], contact: …}"),
        ("replay: {maxRow: 3}\n", "replay: expected a mapping with some of maxRows, maxWindows, maxAge; consumers"),
    ],
)
def test_a_broken_project_file_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "headrace.yaml", text)
    with pytest.raises(ConfigurationError) as caught:
        Project.load(tmp_path)
    assert f"project file {path}" in str(caught.value) and message in str(caught.value)


def test_a_folder_without_a_project_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no project file .*headrace\.yaml; create it or give another --project"):
        Project.load(tmp_path)


def test_a_users_contract_wins_over_the_built_in_one(tmp_path: Path) -> None:
    write(tmp_path / "headrace.yaml", "datasets: [mine]\n")
    text = (BUILT_IN_DATASETS / "contact.v1.yaml").read_text("utf-8")
    write(tmp_path / "mine" / "contact.v1.yaml", text.replace("version: 1.0.0", "version: 1.7.0"))
    assert Project.load(tmp_path).contract("contact", 1).version == "1.7.0"


def test_a_contract_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no contract contact\.v2\.yaml in .*; there is: contact\.v1, customer_event\.v1, order\.v1"
    ):
        Project(root=tmp_path).contract("contact", 2)


def test_a_source_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "web_shop.yaml", SPEC)
    with pytest.raises(
        ConfigurationError, match=r"no source 'webshop' in .*; did you mean web_shop\? Choose a project with --project DIR\."
    ):
        Project(root=tmp_path, sources=(tmp_path,)).source("webshop")
    shutil.copy(tmp_path / "web_shop.yaml", tmp_path / "other.yaml")
    with pytest.raises(ConfigurationError, match=r"there is: other, web_shop\. Choose"):
        Project(root=tmp_path, sources=(tmp_path,)).source("q")


def test_a_source_may_be_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere" / "web.yaml", SPEC)
    spec, contract = Project(root=tmp_path).source(str(path))
    assert (spec.name, contract.name) == ("web", "contact")


def test_a_source_that_does_not_fit_its_contract_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "web.yaml", SPEC.replace("contact_id: id, ", ""))
    with pytest.raises(ConfigurationError) as caught:
        Project(root=tmp_path).source(str(path))
    assert str(caught.value) == f"source spec {path}:\n  - web.yaml:4: columns: contact_id is required by contact and not mapped"
