"""Values of ConfigMaps, against files of the project."""

from pathlib import Path
from typing import Any

import yaml

from contracts.spec.project import Project
from operations.drift.config_maps import compare_config_maps, project_files
from operations.drift.differences import Difference, NotCompared

SOURCE = "source: web\ndataset: x\ncolumns: {user_id: userId, context: context}\n"
SAMPLE = {"headrace.yaml": "lake: /data/lake\n", "web.yaml": SOURCE}
PLACE = Path("build/project.yaml")


def _manifest(values: dict[str, str], kind: str = "ConfigMap") -> str:
    return yaml.safe_dump({"kind": kind, "metadata": {"name": "p"}, "data": values})


def told(values: dict[str, str], **files: str) -> list[tuple[str, str, str]]:
    wanted = {f"{name}.yaml": [text] for name, text in files.items()}
    found = list(compare_config_maps(PLACE, _manifest(values), _manifest(SAMPLE), wanted))
    return [(one.what, one.deployed, one.repository) for one in found if isinstance(one, Difference)]


def test_a_source_that_says_the_same_is_no_difference() -> None:
    written = yaml.safe_dump({**yaml.safe_load(SOURCE), "description": "other words"})
    assert told({**SAMPLE, "web.yaml": f"# ours\n{written}"}, web=SOURCE) == []
    assert told({**SAMPLE, "headrace.yaml": "lake: s3://other\n"}, web=SOURCE) == []


def test_a_source_that_was_changed_in_one_place_is_told_with_both_sides() -> None:
    changed = SOURCE.replace("userId", "someone")
    expected = [("web.yaml of ConfigMap p", "columns.user_id: someone", "columns.user_id: userId")]
    assert told({**SAMPLE, "web.yaml": changed}, web=SOURCE) == expected
    assert told({**SAMPLE, "headrace.yaml": "lake: l\n"}, web=changed) == [
        ("web.yaml of ConfigMap p", "columns.user_id: userId", "columns.user_id: someone")
    ]


def test_a_file_that_the_project_no_longer_has() -> None:
    assert told({"web.yaml": SOURCE, "old.yaml": SOURCE}, web=SOURCE) == [
        ("old.yaml of ConfigMap p", "there", "in no folder of the project")
    ]


def test_a_value_that_cannot_be_read() -> None:
    assert [one[1] for one in told({"web.yaml": "a: [1"}, web=SOURCE)] == ["cannot be read"]


def test_the_sample_is_not_compared_and_that_is_told() -> None:
    found = list(compare_config_maps(PLACE, _manifest(SAMPLE), _manifest(SAMPLE), {"web.yaml": ["source: other\n"]}))
    assert len(found) == 1 and isinstance(found[0], NotCompared) and "sample" in found[0].why


def test_what_is_no_config_map_is_not_looked_at() -> None:
    odd: list[Any] = ["- 1", "a: [1", "kind: ConfigMap\nmetadata: 3\ndata: [1]\n", _manifest({"web.yaml": "a: 1"}, "Secret")]
    for text in odd:
        assert list(compare_config_maps(PLACE, text, _manifest(SAMPLE), {})) == [], text


def test_secrets_of_values_are_not_shown() -> None:
    ((_, deployed, repository),) = told({"web.yaml": "password: hunter2\n"}, web="password: other9\n")
    assert "hunter2" not in deployed and "other9" not in repository


def test_files_of_a_project_are_those_of_its_folders(tmp_path: Path) -> None:
    for folder in ("sources", "destinations"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "web.yaml").write_text(f"a: {folder}\n")
    (tmp_path / "headrace.yaml").write_text("lake: lake\n")
    assert project_files(Project.load(tmp_path)) == {"web.yaml": ["a: sources\n", "a: destinations\n"]}
