"""Dataflow Flex Templates: metadata and container spec of a template, and the commands that put it in place.

Source: https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates (metadata, image, parameters).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError
from contracts.version import VERSION
from templates.build.catalog import Template
from templates.build.parameters import Parameter, parameters_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = "templates/flex/Dockerfile"
PROJECT_FOLDER = Parameter(
    name="project_folder",
    label="Project folder",
    help="Folder with headrace.yaml in the image. Left out: the project that the image was built with.",
    required=False,
    kind="TEXT",
    pattern="^(?:/[A-Za-z0-9_./-]*)$",
    one="/[A-Za-z0-9_./-]*",
)
_WHERE = ("Runner", "Flink")  # groups: the service says where a job runs, not a parameter
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9][a-z0-9._-]*)*"  # registry, name
    r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?:@sha256:[0-9a-f]{64})?"  # tag
)
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")


def flex_parameters(template: Template) -> tuple[Parameter, ...]:
    """The parameters that a Flex Template has: all but those that say where the job runs."""
    return (*(p for p in parameters_of(template) if p.group not in _WHERE), PROJECT_FOLDER)


def metadata_of(template: Template) -> dict[str, Any]:
    """``metadata.json``: what a console shows and the service checks."""
    return {
        "name": f"headrace {template.name}",
        "description": template.description,
        "parameters": [_entry(parameter) for parameter in flex_parameters(template)],
    }


def _entry(parameter: Parameter) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": parameter.name,
        "label": parameter.label,
        "helpText": parameter.help,
        "isOptional": not parameter.required,
        "regexes": [parameter.pattern],
        "paramType": parameter.kind,
    }
    if parameter.kind == "ENUM":
        entry["enumOptions"] = [{"value": choice, "label": choice} for choice in parameter.choices]
    if parameter.default:
        entry["defaultValue"] = parameter.default
    if parameter.parent:
        entry["parentName"] = parameter.parent
    elif parameter.group:
        entry["groupName"] = parameter.group
    return entry


def container_spec_of(template: Template, image: str) -> dict[str, Any]:
    """The image spec that lies in the bucket: which image, with which parameters; workers run in the same image."""
    return {
        "image": image,
        "metadata": metadata_of(template),
        "sdkInfo": {"language": "PYTHON"},
        "defaultEnvironment": {"sdkContainerImage": image},
    }


def as_text(document: Any) -> str:
    """A JSON document as it is written to files."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Target:
    """Where a template is put.

    image: name and tag in a registry. bucket: ``gs://`` folder of image specs, None for a place to fill in.

    Raises:
        ConfigurationError: one is not such an address.
    """

    image: str
    bucket: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not _IMAGE.fullmatch(self.image) or self.image.endswith(":latest"):
            problems.append(f"--image {self.image!r}: expected NAME:TAG or REGISTRY/NAME:TAG, with a tag other than latest")
        if self.bucket is not None and not _BUCKET.fullmatch(self.bucket):
            problems.append(f"--bucket {self.bucket!r}: expected gs://BUCKET or gs://BUCKET/FOLDER")
        if problems:
            raise ConfigurationError("\n".join(problems))

    def spec_file(self, template: Template) -> str:
        """Where the image spec lies, for ``--template-file-gcs-location``."""
        return f"{(self.bucket or 'gs://BUCKET').rstrip('/')}/{template.name}-{VERSION}.json"


def build_command(template: Template, target: Target, engine: str = "docker") -> list[str]:
    """Builds the image; run in the clone's root."""
    return [engine, "build", "--file", DOCKERFILE, "--build-arg", f"PIPELINE={template.name}", "--tag", target.image, "."]


def deploy_script(template: Template, target: Target) -> str:
    """Shell script: build and push the image, and put the image spec in place."""
    commands = [
        build_command(template, target),
        ["docker", "push", target.image],
        ["gcloud", "storage", "cp", "image-spec.json", target.spec_file(template)],
    ]
    build, push, copy = map(shlex.join, commands)
    return f"""\
#!/bin/sh
# Puts the template {template.name} in place: HEADRACE=CLONE ./deploy.sh
set -eu
(cd "${{HEADRACE:?is not set: the clone of the code}}" && {build})
cd "$(dirname "$0")"
{push}
{copy}
"""


def run_script(template: Template, target: Target) -> str:
    """Shell script: launch the template with what it is given, such as ``--parameters source=web``."""
    return f"""\
#!/bin/sh
# Launches the template {template.name}: REGION=europe-west1 ./run.sh --parameters source=web …
# Required: {", ".join(p.name for p in flex_parameters(template) if p.required)}. Several values of one: one space between two.
set -eu
gcloud dataflow flex-template run "headrace-{template.name}-$(date +%Y%m%d-%H%M%S)" \\
  --region "$REGION" --template-file-gcs-location {shlex.quote(target.spec_file(template))} "$@"
"""


def check_spec(document: Any, where: str) -> list[str]:
    """What is wrong with an image spec, or with a metadata document on its own, by the service's own types.

    Raises:
        ConfigurationError: the package with these types is not installed.
    """
    try:
        from google.cloud.dataflow_v1beta3.types import ContainerSpec, TemplateMetadata  # noqa: PLC0415 - not of the base install
    except ImportError:
        raise ConfigurationError("validating needs the service's types: pip install google-cloud-dataflow-client") from None
    if not isinstance(document, dict):
        return [f"{where}: expected a JSON object"]
    whole = "image" in document or "metadata" in document
    kind = ContainerSpec if whole else TemplateMetadata
    try:
        kind.from_json(json.dumps(document), ignore_unknown_fields=False)
    except Exception as error:  # protobuf's errors have no common base but this
        return [f"{where}: {str(error).splitlines()[0]}"]
    problems = []
    if whole:
        if not document.get("image"):
            problems.append(f"{where}: image is missing")
        if document.get("sdkInfo", {}).get("language") != "PYTHON":
            problems.append(f"{where}: sdkInfo.language is not PYTHON")
    metadata = document.get("metadata", {}) if whole else document
    return problems + _metadata_problems(metadata, where)


def _metadata_problems(metadata: dict[str, Any], where: str) -> list[str]:
    """What the types do not say: required texts, names that are given once, regexes and defaults that fit each other."""
    entries = metadata.get("parameters", [])
    names = [entry.get("name", "") for entry in entries]
    problems = [] if metadata.get("name") else ["metadata.name is missing"]
    problems += [f"parameter {name!r} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    for entry in entries:
        problems += [f"parameter {entry.get('name', '')!r}: {problem}" for problem in _entry_problems(entry, names)]
    return [f"{where}: {problem}" for problem in problems]


def _entry_problems(entry: dict[str, Any], names: list[str]) -> Iterator[str]:
    yield from (f"{key} is missing" for key in ("name", "label", "helpText") if not entry.get(key))
    if "parentName" in entry and entry["parentName"] not in names:
        yield f"parentName {entry['parentName']!r} is no parameter"
    if (entry.get("paramType") == "ENUM") != bool(entry.get("enumOptions")):
        yield "ENUM and enumOptions come together"
    values = [option.get("value", "") for option in entry.get("enumOptions", ())]
    if default := entry.get("defaultValue"):
        values.append(default)
    for regex in entry.get("regexes", ()):
        try:
            compiled = re.compile(regex)
        except re.error as error:
            yield f"{regex!r} is no regular expression ({error})"
        else:
            yield from (f"{value!r} does not match {regex}" for value in values if not compiled.fullmatch(value))
