"""Flex Templates: what is committed is what the options make, and the service's own types and image linter take it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.template import template as template_command
from contracts.errors import ConfigurationError
from contracts.spec.project import Project
from lake.location import Lake
from pipelines.ingest.graph import IngestGraph
from pipelines.ingest.sources import Files
from runners.dataflow import run_on_dataflow
from templates.build.catalog import TEMPLATES, Template
from templates.build.flex import Target, as_text, check_spec, container_spec_of, flex_parameters, metadata_of

ROOT = Path(__file__).parents[3]
FLEX = ROOT / "templates" / "flex"
IMAGE = "europe-docker.pkg.dev/acme/cdp/headrace:0.1.0"
WHERE = {
    "runner", "flink", "python_workers", "python_workers_per_taskmanager", "checkpoint_every", "from_savepoint", "workers",
    "max_parallel",
}  # fmt: skip

templates = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(template_command, list(arguments))


@templates
def test_committed_metadata_is_what_the_options_make(template: Template) -> None:
    assert (FLEX / template.name / "metadata.json").read_text("utf-8") == as_text(metadata_of(template))


@templates
def test_every_option_is_a_parameter_but_those_that_say_where_it_runs(template: Template) -> None:
    options = {field.name for field in dataclasses.fields(template.options)} - {"beam_options"}
    assert {parameter.name for parameter in flex_parameters(template)} == (options - WHERE) | {"project_folder"}


@templates
def test_the_services_types_take_the_image_spec(template: Template) -> None:
    assert check_spec(container_spec_of(template, IMAGE), "spec") == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda spec: spec.update(imagee="x"), "imagee"),
        (lambda spec: spec.update(image=""), "image is missing"),
        (lambda spec: spec["sdkInfo"].update(language="COBOL"), "COBOL"),
        (lambda spec: spec["metadata"]["parameters"][0].update(paramType="WORD"), "WORD"),
        (lambda spec: spec["metadata"]["parameters"][0].update(helptext="x"), "helptext"),
        (lambda spec: spec["metadata"]["parameters"][0].update(regexes=["["]), "no regular expression"),
        (lambda spec: spec["metadata"]["parameters"].append(spec["metadata"]["parameters"][0]), "there twice"),
        (lambda spec: spec["metadata"]["parameters"][0].update(parentName="nobody"), "is no parameter"),
        (lambda spec: spec["metadata"]["parameters"][4].update(defaultValue="four"), "does not match"),
    ],
)
def test_a_broken_image_spec_is_refused_with_what_is_wrong(tmp_path: Path, change: Any, told: str) -> None:
    spec = json.loads(as_text(container_spec_of(TEMPLATES["ingest"], IMAGE)))
    change(spec)
    file = tmp_path / "image-spec.json"
    file.write_text(json.dumps(spec))
    result = run("validate", str(file))
    assert result.exit_code == 2 and told in result.output


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH: no container engine, but those that a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def engine(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_build_builds_the_image_with_the_first_engine_that_answers(tmp_path: Path, engines: Path) -> None:
    engine(engines, "docker", "exit 1")
    engine(engines, "podman", f'echo "$PWD" "$@" >> {tmp_path}/asked')
    result = run("build", "replay", "--image", IMAGE, "--out", str(tmp_path))
    assert result.exit_code == 0 and f"built {IMAGE}" in result.output
    told = (tmp_path / "asked").read_text().splitlines()
    assert told[1] == f"{ROOT} build --file templates/flex/Dockerfile --build-arg PIPELINE=replay --tag {IMAGE} ."
    engine(engines, "podman", 'test "$1" = info')
    failed = run("build", "replay", "--image", IMAGE, "--out", str(tmp_path))
    assert failed.exit_code == 1 and "podman build failed" in failed.output


def test_build_says_why_it_builds_no_image(tmp_path: Path, engines: Path) -> None:
    assert "no docker, podman, buildah on PATH" in run("build", "ingest", "--image", IMAGE, "--out", str(tmp_path)).output
    engine(engines, "docker", "exit 1")
    assert (
        "docker: installed, but its engine does not answer"
        in run("build", "ingest", "--image", IMAGE, "--out", str(tmp_path)).output
    )


@pytest.mark.usefixtures("engines")
def test_build_writes_specs_and_scripts_that_a_shell_reads(tmp_path: Path) -> None:
    result = run("build", "ingest", "--image", IMAGE, "--bucket", "gs://acme-cdp/templates", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    folder = tmp_path / "ingest"
    assert check_spec(json.loads((folder / "image-spec.json").read_text()), "spec") == []
    assert json.loads((folder / "metadata.json").read_text()) == metadata_of(TEMPLATES["ingest"])
    for script in ("deploy.sh", "run.sh"):
        subprocess.run(["/bin/sh", "-n", folder / script], check=True)
    assert "gs://acme-cdp/templates/ingest-" in (folder / "run.sh").read_text()
    assert f"--tag {IMAGE}" in (folder / "deploy.sh").read_text()
    assert "image not built" in result.output


@pytest.mark.parametrize(
    "image", ["headrace", "headrace:latest", "headrace:1;id", "x/../y:1", "-x:1", "headrace:1\nid", "$(id):1", "UPPER/x:1"]
)
def test_an_image_that_is_no_pinned_name_is_refused(image: str) -> None:
    with pytest.raises(ConfigurationError, match="--image"):
        Target(image)


@pytest.mark.parametrize("bucket", ["acme", "gs://", "gs://a b", "gs://acme/../x", "gs://acme;id", "gs://acme/$(id)"])
def test_a_bucket_that_is_none_is_refused(bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="--bucket"):
        Target(IMAGE, bucket)


@pytest.mark.parametrize("dockerfile", ["flex/Dockerfile", "kubernetes/Dockerfile"])
def test_dockerfiles_pass_hadolint_and_pin_what_they_take(dockerfile: str) -> None:
    path = ROOT / "templates" / dockerfile
    linted = subprocess.run([Path(sys.executable).with_name("hadolint"), path], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")
    lines = path.read_text("utf-8").splitlines()
    for line in lines:
        if line.startswith("FROM "):
            assert re.fullmatch(r"FROM [\w./-]+:[\w.-]*\d[\w.-]*( AS \w+)?", line), line
        assert not line.startswith("ADD ")
        assert not re.search(r"(?i)(password|secret|token|_key)\s*=", line), line
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 9999:9999"


def test_what_images_copy_is_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    for dockerfile in ("flex/Dockerfile", "kubernetes/Dockerfile"):
        for line in (ROOT / "templates" / dockerfile).read_text("utf-8").splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                for part in line.split()[1:-1]:
                    name = part.replace("${PROJECT}", "examples/webshop")
                    assert any(entry == name or entry.startswith(name + "/") for entry in sent), name
                    assert name.endswith(".jar") or (ROOT / name).exists()


def pins(lock: Path) -> dict[str, str]:
    """Version by package of a lock file."""
    return dict(re.findall(r"^([\w.-]+)==([^ ]+) \\$", lock.read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize(
    "lock", [*ROOT.glob("requirements/*.lock"), *ROOT.glob("templates/*/*.lock")], ids=lambda path: str(path.parent.name)
)
def test_a_lock_file_has_a_hash_of_each_package_and_no_address(lock: Path) -> None:
    text = re.sub(r"^#.*\n", "", lock.read_text("utf-8"), flags=re.MULTILINE)
    assert len(pins(lock)) == len(re.findall(r"^\S", text, re.MULTILINE)) > 0
    for package in re.split(r"\n(?=\S)", text.strip()):
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", package.strip()), package
    assert "://" not in text and not re.search(r"^-", text, re.MULTILINE)


def test_nothing_is_installed_without_hashes() -> None:
    for file in ("Makefile", "templates/flex/Dockerfile", "templates/kubernetes/Dockerfile"):
        text = (ROOT / file).read_text("utf-8")
        for words in re.findall(r"pip install (.*?)(?:&&|\n|$)", text):
            assert "--require-hashes" in words or words.rstrip().endswith(" .") or "pip-tools==" in words, words


def test_the_flex_image_is_made_of_what_the_project_is_locked_to() -> None:
    base, more = pins(ROOT / "requirements" / "base.lock"), pins(FLEX / "requirements.lock")
    assert {name: base[name] for name in base.keys() & more.keys()} == {name: more[name] for name in base.keys() & more.keys()}
    assert f"apache/beam_python3.11_sdk:{base['apache-beam']}" in (FLEX / "Dockerfile").read_text("utf-8")


def test_dataflow_takes_the_ingest_graph(tmp_path: Path) -> None:
    """Beam's DataflowRunner translates it and makes the job, without sending it (``--dry_run``)."""
    import apache_beam as beam

    spec, contract = Project.load(ROOT / "examples" / "webshop").source("web")
    graph = IngestGraph(lake=Lake.at(str(tmp_path / "lake")), contract=contract, spec=spec, run_id="run-1")
    graph.prepare()
    built = []

    def build(pipeline: beam.Pipeline) -> None:
        graph.build(Files([]), pipeline)
        built.append(pipeline)

    place = [
        "--project=acme-cdp",
        "--region=europe-west1",
        "--temp_location=gs://acme-staging/tmp",
        "--staging_location=gs://acme-staging/s",
    ]
    assert (
        run_on_dataflow(build, "headrace-run-1", [*place, "--no_auth", "--dry_run=True", f"--sdk_container_image={IMAGE}"]) is False
    )
    steps = built[0].runner.proto_pipeline.components.transforms.values()
    assert {"DecodeRecords", "ConvergeRows", "CommitLedger"} <= {step.unique_name for step in steps}
    (environment,) = {e.payload for e in built[0].runner.proto_pipeline.components.environments.values() if e.payload}
    assert IMAGE.encode() in environment


def test_dataflow_names_the_options_that_it_misses() -> None:
    with pytest.raises(ConfigurationError, match="--region, --temp_location"):
        run_on_dataflow(lambda pipeline: None, "job", ["--project=acme-cdp"])
