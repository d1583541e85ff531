"""Launching by parameters: checked as the service would, refused by name, and run by the code behind the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.launch import main, read_launch
from cli.template import template as template_command
from contracts.errors import ConfigurationError
from lake.storage import storage_of
from templates.build.catalog import TEMPLATES
from templates.build.flex import flex_parameters, metadata_of
from templates.build.parameters import arguments_of, check_parameters
from tests.support.cdp import CdpEndpoint
from tests.support.web_events import BASE_EVENTS

ROOT = Path(__file__).parents[3]
WEBSHOP = ROOT / "examples" / "webshop"
INGEST, REPLAY, DELIVER = TEMPLATES["ingest"], TEMPLATES["replay"], TEMPLATES["deliver"]
SOUND = {
    "ingest": {"source": "web", "input": "gs://acme-drop/web"},
    "replay": {"name": "fix-1", "dataset": "customer_event", "start": "2026-11-02T10:00:00Z", "end": "2026-11-02T11:00:00Z"},
    "deliver": {"destination": "segment", "start": "2026-11-02T10:00:00Z", "end": "2026-11-02T11:00:00Z"},
}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(template_command, list(arguments))


def told(template: Any, given: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as error:
        check_parameters(template, given, flex_parameters(template))
    return str(error.value)


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drop")
    for number in range(2):
        (folder / f"events-{number}.jsonl").write_bytes(b"\n".join(BASE_EVENTS[number::2]) + b"\n")
    return folder


def test_ingest_is_launched_from_its_own_metadata(tmp_path: Path, drop: Path) -> None:
    """All parameters that the metadata gives a default for, and the required ones, from a file; the rest with ``-p``."""
    given = {entry["name"]: entry["defaultValue"] for entry in metadata_of(INGEST)["parameters"] if "defaultValue" in entry}
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({**given, "source": "web", "input": f"{drop}/events-0.jsonl {drop}/events-1.jsonl"}))
    lake = tmp_path / "lake"
    result = subprocess.run(
        [sys.executable, "-m", "cli.main", "template", "run", "ingest", "--local", "--parameters-file", file,
         "-p", f"lake={lake}", "--project", WEBSHOP],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (manifest,) = [json.loads(path.read_text()) for path in lake.glob("_runs/*/manifest.json")]
    assert manifest["ledger"]["web"]["records_in"] == len(BASE_EVENTS)
    assert manifest["options"]["input"] == [f"{drop}/events-0.jsonl", f"{drop}/events-1.jsonl"]
    assert "ledger adds up" in result.stdout


def test_replay_is_launched_from_its_own_metadata(tmp_path: Path, drop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = f"--lake={tmp_path / 'lake'}"
    project = f"--project_folder={WEBSHOP}"
    assert main(["--pipeline=ingest", "--source=web", f"--input={drop}", lake, project]) == 0
    defaults = [f"--{e['name']}={e['defaultValue']}" for e in metadata_of(REPLAY)["parameters"] if "defaultValue" in e]
    given = {"name": "fix-1", "dataset": "customer_event", "start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"}
    capsys.readouterr()
    assert main(["--pipeline=replay", *(f"--{key}={value}" for key, value in given.items()), *defaults, lake, project]) == 0
    assert "branch replay_fix-1 is ready" in capsys.readouterr().out


def test_deliver_is_launched_from_its_own_metadata(
    tmp_path: Path, drop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, project = f"--lake={tmp_path / 'lake'}", f"--project_folder={tmp_path}"
    destination = yaml.safe_load((ROOT / "contracts" / "destinations" / "segment.yaml").read_text())
    (tmp_path / "destinations").mkdir()
    (tmp_path / "destinations" / "cdp.yaml").write_text(yaml.safe_dump(destination | {"destination": "cdp", "consent": []}))
    (tmp_path / "headrace.yaml").write_text(f"sources: [{WEBSHOP / 'sources'}]\n")
    assert main(["--pipeline=ingest", "--source=web", f"--input={drop}", lake, project]) == 0
    capsys.readouterr()
    defaults = [f"--{e['name']}={e['defaultValue']}" for e in metadata_of(DELIVER)["parameters"] if "defaultValue" in e]
    given = ["--destination=cdp", "--start=2026-11-01T00:00:00Z", "--end=2026-11-04T00:00:00Z"]
    with CdpEndpoint.started() as cdp:
        monkeypatch.setenv("SEGMENT_ENDPOINT", f"{cdp.url}/v1/batch")
        monkeypatch.setenv("SEGMENT_WRITE_KEY", cdp.write_key)
        assert main(["--pipeline=deliver", *given, *defaults, lake, project]) == 0, capsys.readouterr().err
        sent = cdp.message_ids()
    assert sent and len(sent) == len(set(sent))
    assert f" {len(sent):,} " in capsys.readouterr().out


def test_the_file_that_the_launcher_starts_runs_the_same_code(tmp_path: Path, drop: Path) -> None:
    launcher = [sys.executable, ROOT / "templates" / "flex" / "launch.py", "--source=web", f"--input={drop}"]
    environment = {"HEADRACE_PIPELINE": "ingest", "HEADRACE_PROJECT": str(WEBSHOP), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    result = subprocess.run(
        [*launcher, f"--lake={tmp_path / 'lake'}", "--runner=DirectRunner"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert "ledger adds up" in result.stdout


def test_the_launchers_own_options_go_to_beam() -> None:
    own = ["--runner=DataflowRunner", "--project=acme-cdp", "--region=europe-west1", "--template_location=gs://acme/job_object"]
    launch = read_launch(["--pipeline", "ingest", "--source=web", "--input=gs://acme-drop/web", *own, "--streaming"])
    assert launch.arguments() == [
        "ingest", "web", "--input=gs://acme-drop/web", "--runner=dataflow", "--",
        "--project=acme-cdp", "--region=europe-west1", "--template_location=gs://acme/job_object", "--streaming",
    ]  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(("told", "runner"), [("direct", "direct"), ("flink", "flink"), ("DirectRunner", "direct")])
def test_where_it_runs_is_said_by_the_launcher(name: str, told: str, runner: str) -> None:
    given = [f"--{key}={value}" for key, value in SOUND[name].items()]
    assert f"--runner={runner}" in read_launch([f"--pipeline={name}", *given, f"--runner={told}"]).arguments()


def test_dataflow_without_a_lake_that_its_workers_see_is_refused(tmp_path: Path, drop: Path) -> None:
    given = ["--pipeline=ingest", "--source=web", f"--input={drop}", f"--lake={tmp_path / 'lake'}", f"--project_folder={WEBSHOP}"]
    launcher = [sys.executable, ROOT / "templates" / "flex" / "launch.py", *given, "--runner=DataflowRunner"]
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    result = subprocess.run(launcher, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 2 and "need a gs:// lake" in result.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("emulator", ["gs"], indirect=True)  # Dataflow's
def test_a_launch_lands_files_and_leaves_a_job_for_the_launcher(
    tmp_path: Path, drop: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the launcher of a Flex Template then submits lies at ``--template_location``; the ledger is that of the next run."""
    monkeypatch.setattr("pipelines.ingest.files.check_reachable", lambda lake: None)  # no workers here that would miss the catalog
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme-cdp")
    (tmp_path / "headrace.yaml").write_text(f"catalog: sqlite:///catalog.db\nsources: [{WEBSHOP / 'sources'}]\n")
    given = ["--pipeline=ingest", "--source=web", f"--input={drop}", f"--lake={bucket}/lake", f"--project_folder={tmp_path}"]
    place = ["--project=acme-cdp", "--region=europe-west1", f"--temp_location={bucket}/tmp", f"--staging_location={bucket}/staging"]
    own = [
        "--no_auth",
        "--sdk_container_image=registry.example.com/headrace:0.1.0",
        f"--template_location={bucket}/launch/job_object",
    ]
    assert main([*given, "--runner=DataflowRunner", *place, *own]) == 0
    job = json.loads(storage_of(f"{bucket}/launch/job_object").read(f"{bucket}/launch/job_object"))
    assert job["name"].startswith("headrace-") and "registry.example.com/headrace:0.1.0" in json.dumps(job["environment"])
    capsys.readouterr()
    assert main(given) == 0
    again = capsys.readouterr().out
    assert "2 already landed" in again and "ledger adds up" in again


@pytest.mark.parametrize("name", ["replay", "deliver"])
def test_replay_and_deliver_on_dataflow_are_refused(name: str) -> None:
    given = [f"--{key}={value}" for key, value in SOUND[name].items()]
    with pytest.raises(ConfigurationError, match="does not run on Dataflow"):
        read_launch([f"--pipeline={name}", *given, "--runner=DataflowRunner"]).arguments()


@pytest.mark.parametrize("name", TEMPLATES)
def test_sound_parameters_are_taken_and_become_arguments(name: str) -> None:
    template = TEMPLATES[name]
    check_parameters(template, SOUND[name], flex_parameters(template))
    arguments = arguments_of(template, SOUND[name])
    assert arguments[: len(template.options.COMMAND) + 1] == [*template.options.COMMAND, SOUND[name][template.argument]]


def test_repeated_parameters_and_switches_become_arguments() -> None:
    given = {"source": "web", "input": "a b kafka://h1:9092,h2:9092/t", "allow_damaged": "true"}
    assert arguments_of(INGEST, given, ["--x=1"]) == [
        "ingest", "web", "--input=a", "--input=b", "--input=kafka://h1:9092,h2:9092/t", "--allow-damaged", "--", "--x=1",
    ]  # fmt: skip
    assert "--allow-damaged" not in arguments_of(INGEST, {**given, "allow_damaged": "false"})


def test_all_that_is_wrong_is_told_at_once_by_name() -> None:
    text = told(
        INGEST,
        {
            "inptu": "x",
            "num_shards": "0",
            "max_rejected": "200%",
            "on_offset_gap": "maybe",
            "allow_damaged": "yes",
            "runner": "flink",
        },
    )
    for name in ("'inptu': no such parameter; did you mean input?", "source is missing", "input is missing", "num_shards='0'",
                 "max_rejected='200%'", "on_offset_gap='maybe'", "allow_damaged='yes'", "runner: where the job runs"):  # fmt: skip
        assert name in text


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    "value", ["-x", "--lake=/", "a\nb", "a\x00b", "a;id", "$(id)", "`id`", "a|b", "a>b", "a&b", "../../etc", "a'b", 'a"b', "a\\b"]
)
def test_hostile_values_are_refused_by_name(name: str, value: str) -> None:
    """In the name, in an address, and in a list of names or addresses, wherever the template has one."""
    template = TEMPLATES[name]
    kinds = {
        "ingest": ("source", "input", "lake", "group", "client_config"),
        "replay": ("name", "dataset", "lake", "source", "approved_by"),
        "deliver": ("destination", "input", "lake", "group", "client_config"),
    }
    for parameter in kinds[name]:
        assert f"\n  - {parameter}=" in told(template, {**SOUND[name], parameter: value})


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_the_check_takes_the_services_regexes_take(name: str) -> None:
    """The service knows only the regexes of the metadata: they may not refuse what we take."""
    entries = {entry["name"]: entry for entry in metadata_of(TEMPLATES[name])["parameters"]}
    samples = {
        "ingest": {**SOUND["ingest"], "window": "1h", "max_rejected": "2.5%", "slice_bytes": "512MiB",
                   "start": "2026-11-23T06:00:00Z", "until": "now", "early_panes": "off", "watermark_bound": "0s",
                   "topic_pattern": r"web-(events|clicks)\d+$",
                   "input": "gs://b/*.jsonl.gz /drop/crm", "immediate": "off"},
        "replay": {**SOUND["replay"], "offsets": "web-events/0:1200-4800 web-events/1:0-10", "source": "web mobile", "raw": "all",
                   "max_rate": "10M", "approved_by": "jane@example.com", "reason": "currency was wrong (ticket 7)"},
        "deliver": {"destination": "segment", "input": "kafka://h1:9092,h2:9092/headrace.validated.customer_event",
                    "start": "committed", "until": "now", "requests_per_s": "0.5", "give_up_after": "15m", "rows": "refused",
                    "on_offset_gap": "earliest", "lake": "gs://acme-lake/cdp"},
    }[name]  # fmt: skip
    check_parameters(TEMPLATES[name], samples, flex_parameters(TEMPLATES[name]))
    for key, value in samples.items():
        assert all(re.fullmatch(regex, value) for regex in entries[key]["regexes"]), key


def test_no_regex_needs_what_other_engines_lack() -> None:
    for template in TEMPLATES.values():
        for entry in metadata_of(template)["parameters"]:
            assert all("(?=" not in regex and "(?!" not in regex and "(?<" not in regex for regex in entry["regexes"])


def test_mistakes_on_the_command_line_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    for arguments, text in [
        (["run", "ingset", "--local"], "did you mean ingest?"),
        (["run", "../ingest", "--local"], "no template '../ingest'"),
        (["run", "ingest", "--local", "-p", "source"], "expected NAME=VALUE"),
        (["run", "ingest", "--local", "-p", "source=a", "-p", "source=b"], "given more than once"),
        (["run", "ingest", "--local", "--parameters-file", str(tmp_path / "list.json")], "expected a JSON object"),
        (["run", "ingest", "-p", "source=web"], "--local"),
        (["validate", "nothing"], "neither a template"),
        (["validate", "ingest", "-p", "source=web", "-p", "input=x", "-p", "start=soon"], "start='soon'"),
        (["build", "ingest", "--image", "headrace:1", "-p", "source=web", "--out", str(tmp_path)], "when it is launched"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2 and text in result.output, (arguments, result.output)


def test_list_names_every_template_and_parameter() -> None:
    shown = json.loads(run("list", "--json").output)
    assert [entry["name"] for entry in shown] == [f"headrace {name}" for name in TEMPLATES]
    names = run("list").output
    assert all(f"{name} " in names for name in TEMPLATES) and "max_rejected" not in names
    assert "max_rejected" in run("list", "ingest").output
    assert run("list", "nothing").exit_code == 2


def test_builds_of_the_guide_are_commands_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no container engine: images are not built here
    page = (ROOT / "docs" / "guides" / "templates.md").read_text("utf-8").replace("\\\n", "")
    commands = re.findall(r"^headrace template (build .*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        result = run(*command.split(), "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
