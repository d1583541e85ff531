"""The pipelines that are launched by template."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import ConfigurationError
from pipelines.deliver.options import DeliverOptions
from pipelines.ingest.options import IngestOptions
from pipelines.replay.options import ReplayOptions


@dataclass(frozen=True)
class Positional:
    """An argument of the command that is a parameter of the template: a field of the options dataclass, and what it is."""

    name: str
    help: str


@dataclass(frozen=True)
class Template:
    """A pipeline that can be launched by parameters.

    name: as the template is called. options: its dataclass. command: words of the command line before its arguments. positional:
    those arguments, in order. workers: the option that says how many workers there are. parents: parameters that only make sense
    beside another one, which is shown first. secrets: Kubernetes Secrets whose keys are environment variables of what submits it.
    """

    name: str
    description: str
    options: type[Any]
    command: tuple[str, ...]
    positional: tuple[Positional, ...]
    workers: str
    parents: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


_ALL = (
    Template(
        name="ingest",
        description="Land files or topics, check every record against its contract, fold the good ones into the validated table.",
        options=IngestOptions,
        command=("ingest",),
        positional=(Positional("source", "Name of the source: sources/NAME.yaml of the project."),),
        workers="workers",
    ),
    Template(
        name="replay",
        description="Rebuild a range of a validated table from raw onto a branch of its own, to be compared and promoted.",
        options=ReplayOptions,
        command=("replay", "run"),
        positional=(Positional("name", "Name of the replay: lower-case letters, digits, _ and -."),),
        workers="max_parallel",
        parents={"reason": "approved_by"},
    ),
    Template(
        name="deliver",
        description="Deliver validated rows to a destination: once in effect, in order per user, each row accounted for.",
        options=DeliverOptions,
        command=("deliver",),
        positional=(Positional("destination", "Name of the destination: destinations/NAME.yaml of the project."),),
        workers="workers",
        secrets=("headrace-destinations",),
    ),
)
TEMPLATES: Mapping[str, Template] = {template.name: template for template in _ALL}


def template_named(name: str) -> Template:
    """The template of this name.

    Raises:
        ConfigurationError: there is none; names the nearest.
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    near = difflib.get_close_matches(name, TEMPLATES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(TEMPLATES)}"
    raise ConfigurationError(f"no template {name!r}; {hint}")
