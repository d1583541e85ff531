"""``headrace template``: list, build, validate, run."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.console import fail, json_option, plain_errors, print_json, project_option, stderr, stdout, table
from contracts.errors import ConfigurationError
from templates.build.catalog import TEMPLATES, Template, template_named
from templates.build.files import dataflow_files, kubernetes_files
from templates.build.flex import ROOT, Target, build_command, check_spec, container_spec_of, flex_parameters, metadata_of
from templates.build.parameters import SEPARATOR, check_parameters, parameters_of

_ENGINES = ("docker", "podman", "buildah")
_parameter_options = (
    click.option("-p", "--parameter", "pairs", metavar="NAME=VALUE", multiple=True, help="A parameter; several times if you like."),
    click.option(
        "--parameters-file", metavar="FILE", type=click.Path(path_type=Path),
        help="JSON object of parameters and their values as text; -p wins over it.",
    ),
)  # fmt: skip


def _parameters(command: Any) -> Any:
    for option in reversed(_parameter_options):
        command = option(command)
    return command


@click.group()
def template() -> None:
    """Pipelines as templates: Dataflow Flex Templates, and jobs for Flink on Kubernetes."""


@template.command("list", epilog="\b\nExamples:\n  headrace template list\n  headrace template list ingest")
@click.argument("name", required=False)
@json_option
@plain_errors
def list_templates(name: str | None, as_json: bool) -> None:
    """The templates; or the parameters of the one that is named."""
    chosen = [template_named(name)] if name else list(TEMPLATES.values())
    if as_json:
        print_json([metadata_of(each) for each in chosen])
    elif name:
        rows = [
            (p.name, p.group, "required" if p.required else p.default, p.kind.lower() + (", several" if p.repeated else ""), p.help)
            for p in flex_parameters(chosen[0])
        ]
        stdout.print(table(("parameter", "group", "default", "kind", ""), rows, title=f"{name}: {chosen[0].description}"))
    else:
        stdout.print(table(("template", ""), [(each.name, each.description) for each in chosen]))
        stdout.print("headrace template list TEMPLATE: its parameters")


_BUILD_EPILOG = """\b
Examples:
  headrace template build ingest --image europe-docker.pkg.dev/acme/cdp/headrace:0.1.0 --bucket gs://acme-cdp/templates
  headrace template build ingest --for kubernetes --image registry.example.com/headrace:0.1.0 -p source=web \\
    -p input=kafka://kafka-bootstrap:9093/web-events
"""


@template.command(epilog=_BUILD_EPILOG)
@click.argument("name")
@click.option("--image", metavar="IMAGE", required=True, help="REGISTRY/NAME:TAG of the image.")
@click.option(
    "--for", "kind", type=click.Choice(["dataflow", "kubernetes"]), default="dataflow", show_default=True, help="For which."
)
@click.option("--bucket", metavar="URI", help="Dataflow: gs:// folder of image specs; left out, the scripts say gs://BUCKET.")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), default=Path("build/templates"), show_default=True,
    help="Files are written to DIR/NAME.",
)  # fmt: skip
@_parameters
@plain_errors
def build(
    name: str, image: str, kind: str, bucket: str | None, out: Path, pairs: tuple[str, ...], parameters_file: Path | None
) -> None:
    """Write what a launch needs, and build the image where a container engine answers.

    For Dataflow: image-spec.json, metadata.json, deploy.sh and run.sh. For Kubernetes: the manifest that submits the job with these
    parameters, and those of the cluster.
    """
    wanted = template_named(name)
    target = Target(image, bucket)
    given = _given(wanted, pairs, parameters_file)
    if kind == "kubernetes":
        if bucket:
            raise ConfigurationError("--bucket: with --for dataflow only")
        files = kubernetes_files(wanted, image, given)
    else:
        if given:
            raise ConfigurationError("-p, --parameters-file: a Flex Template takes its parameters when it is launched (run.sh)")
        files = dataflow_files(wanted, target)
    folder = out / wanted.name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, "utf-8")
        if file.endswith(".sh"):
            (folder / file).chmod((folder / file).stat().st_mode | stat.S_IXUSR)
        stdout.print(f"wrote {folder / file}")
    if kind == "dataflow":
        _build_image(wanted, target, folder)


def _build_image(wanted: Template, target: Target, folder: Path) -> None:
    """Build where an engine answers; else say what is left to do."""
    engine, why = _engine()
    if engine is None:
        stdout.print(f"image not built: {why}. Run {folder / 'deploy.sh'} where there is a container engine, with HEADRACE=CLONE.")
        return
    command = build_command(wanted, target, engine)
    stderr.print(f"building {target.image} with {engine} …")
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        fail(f"{engine} build failed; what it said is above", 1)
    stdout.print(f"built {target.image}; push it and put the image spec in place: {folder / 'deploy.sh'}")


def _engine() -> tuple[str | None, str]:
    """The first container engine that answers, or why there is none."""
    silent = []
    for engine in _ENGINES:
        if shutil.which(engine) is None:
            continue
        if subprocess.run([engine, "info"], capture_output=True, check=False, timeout=60).returncode == 0:
            return engine, ""
        silent.append(engine)
    if silent:
        return None, f"{', '.join(silent)}: installed, but its engine does not answer"
    return None, f"no {', '.join(_ENGINES)} on PATH"


_VALIDATE_EPILOG = """\b
Examples:
  headrace template validate ingest
  headrace template validate ingest -p source=web -p input=gs://acme-drop/web -p max_rejected=5%
  headrace template validate build/templates/ingest/image-spec.json
"""


@template.command(epilog=_VALIDATE_EPILOG)
@click.argument("name_or_file")
@_parameters
@plain_errors
def validate(name_or_file: str, pairs: tuple[str, ...], parameters_file: Path | None) -> None:
    """Hold a template, an image spec or a metadata file to the types of the service, and parameters to the template."""
    path = Path(name_or_file)
    if name_or_file in TEMPLATES:
        wanted = template_named(name_or_file)
        given = _given(wanted, pairs, parameters_file)
        problems = check_spec(container_spec_of(wanted, "registry.example.com/headrace:0"), f"template {wanted.name}")
        if given and not problems:
            check_parameters(wanted, given, flex_parameters(wanted))
    elif path.is_file():
        if pairs or parameters_file:
            raise ConfigurationError("-p, --parameters-file: with the name of a template only")
        problems = check_spec(_json_of(path), name_or_file)
    else:
        raise ConfigurationError(f"{name_or_file!r}: neither a template ({', '.join(TEMPLATES)}) nor a file")
    if problems:
        raise ConfigurationError("\n".join(problems))
    stdout.print(f"{name_or_file}: valid")


_RUN_EPILOG = """\b
Examples:
  headrace template run ingest --local -p source=web -p input=drop/web -p lake=/data/lake
  headrace template run ingest --local --runner flink --parameters-file web.json
Options of Beam go behind `--`.
"""


@template.command(epilog=_RUN_EPILOG)
@click.argument("name")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
@click.option("--local", is_flag=True, required=True, help="From this machine, as the launcher in the image does.")
@click.option("--runner", type=click.Choice(["direct", "flink"]), default="direct", show_default=True, help="Where the job runs.")
@_parameters
@project_option
@plain_errors
def run(
    name: str,
    beam_options: tuple[str, ...],
    local: bool,
    runner: str,
    pairs: tuple[str, ...],
    parameters_file: Path | None,
    project: Path | None,
) -> None:
    """Check the parameters as the service would, and launch the pipeline with them."""
    from cli.launch import main  # noqa: PLC0415 - it imports the command line, and so this module

    if not local:
        raise ConfigurationError("give --local; run.sh, which `headrace template build` writes, launches on Dataflow")
    wanted = template_named(name)
    given = _given(wanted, pairs, parameters_file)
    check_parameters(wanted, given, flex_parameters(wanted))
    if project is not None:
        given["project_folder"] = str(project.absolute())
    arguments = [f"--{key}={value}" for key, value in given.items()]
    code = main([f"--pipeline={name}", f"--runner={runner}", *arguments, *beam_options])
    raise SystemExit(code)


def _given(wanted: Template, pairs: Sequence[str], file: Path | None) -> dict[str, str]:
    """Values by parameter, of the file and of ``-p``; a parameter that ``-p`` names again has several values.

    Raises:
        ConfigurationError: the file or a pair is not what it should be.
    """
    given: dict[str, str] = {}
    if file is not None:
        document = _json_of(file)
        if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
            raise ConfigurationError(f"{file}: expected a JSON object whose values are texts")
        given = document
    by_name: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ConfigurationError(f"-p {pair!r}: expected NAME=VALUE")
        by_name.setdefault(name, []).append(value)
    repeated = {p.name for p in parameters_of(wanted) if p.repeated}
    if twice := [name for name, values in by_name.items() if len(values) > 1 and name not in repeated]:
        raise ConfigurationError("\n".join(f"-p {name}: given more than once" for name in twice))
    return {**given, **{name: SEPARATOR.join(values) for name, values in by_name.items()}}


def _json_of(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise ConfigurationError(f"{path}: not JSON in UTF-8") from None
