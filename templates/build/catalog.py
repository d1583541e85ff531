"""The pipelines that are launched by template."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.errors import ConfigurationError
from pipelines.deliver.options import DeliverOptions
from pipelines.ingest.options import IngestOptions
from pipelines.replay.options import ReplayOptions
from runners.options import RunnerOptions


@dataclass(frozen=True)
class Template:
    """A pipeline that can be launched by parameters.

    name: as the template is called. options: its dataclass. workers: the option that says how many workers there are. parents:
    parameters that only make sense beside another one, which is shown first. secrets: Kubernetes Secrets whose keys are environment
    variables of what submits it.
    """

    name: str
    description: str
    options: type[RunnerOptions]
    workers: str
    parents: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def argument(self) -> str:
        """The parameter that is an argument of the command: what it works on."""
        return next(name for name, (_, described) in self.options.described().items() if described.positional)


_ALL = (
    Template(
        name="ingest",
        description="Land files or topics, check every record against its contract, fold the good ones into the validated table.",
        options=IngestOptions,
        workers="workers",
    ),
    Template(
        name="replay",
        description="Rebuild a range of a validated table from raw onto a branch of its own, to be compared and promoted.",
        options=ReplayOptions,
        workers="max_parallel",
        parents={"reason": "approved_by"},
    ),
    Template(
        name="deliver",
        description="Deliver validated rows to a destination: once in effect, in order per user, each row accounted for.",
        options=DeliverOptions,
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
