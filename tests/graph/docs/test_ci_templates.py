"""The pipelines for users' repositories: their shell lines run, on a project that is right and on one that is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "templates" / "ci"
BRANCHES = {"GITHUB_BASE_REF": "main", "CI_DEFAULT_BRANCH": "main"}
WRONG = "source: Web\ndataset: customer_event\nformat: xml\ncolumns: {event_id: id}\n"


def steps_of(name: str) -> list[tuple[str, bool]]:
    """Shell lines in order, and whether they run after a failure too; what installs Headrace is left out."""
    document: Any = yaml.safe_load((TEMPLATES / name).read_text("utf-8"))
    if name == "github.yml":
        steps = document["jobs"]["lint"]["steps"]
        lines = [(step["run"], step.get("if") == "always()") for step in steps if "run" in step]
    else:
        job = document["contracts"]
        lines = [(line, False) for line in [*job["before_script"], *job["script"]]] + [(line, True) for line in job["after_script"]]
    return [line for line in lines if not line[0].startswith("pip install")]


def run(name: str, folder: Path) -> tuple[bool, str]:
    """Whether all steps ended well, and what they printed."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "headrace"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join((str(command.parent), os.environ["PATH"]))
    well, printed = True, ""
    for line, always in steps_of(name):
        if well or always:
            env = {**os.environ, "PATH": path, "PROJECT": ".", **BRANCHES, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(["bash", "-ec", line], cwd=folder, env=env, capture_output=True, text=True, check=False)
            well, printed = well and done.returncode == 0, printed + done.stdout + done.stderr
    return well, printed


def project(folder: Path, **sources: str) -> Path:
    (folder / "sources").mkdir()
    consumers = "consumers: {customer_event: [{name: analytics}]}\n"
    (folder / "headrace.yaml").write_text(f"sources: [sources]\n{consumers}")
    for name, text in sources.items():
        (folder / "sources" / f"{name}.yaml").write_text(text)
    git = ("git", "-c", "user.name=ci", "-c", "user.email=ci@example.com")
    remote = folder.parent / f"{folder.name}.git"
    commands = (
        ("git", "init", "-q", "-b", "main"), ("git", "add", "-A"), (*git, "commit", "-qm", "a project"),
        ("git", "clone", "-q", "--bare", str(folder), str(remote)), ("git", "remote", "add", "origin", str(remote)),
        ("git", "fetch", "-q", "origin"),
    )  # fmt: skip
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in TEMPLATES.iterdir()))
def test_a_project_that_is_right_passes_and_one_that_is_not_fails(name: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir(), bad.mkdir()
    right = (ROOT / "examples/webshop/sources/web.yaml").read_text("utf-8")
    well, printed = run(name, project(good, web=right))
    assert well, printed
    well, printed = run(name, project(bad, web=WRONG))
    assert not well
    assert "sources/web.yaml" in printed and "format: 'xml'" in printed
    report = json.loads((bad / ("lint.sarif" if name == "github.yml" else "lint.json")).read_text("utf-8"))
    found = report["runs"][0]["results"] if name == "github.yml" else report["findings"]
    assert len(found) == 2
