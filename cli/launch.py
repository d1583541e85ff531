"""What a launcher starts: ``--pipeline NAME --parameter=value …`` to the command of ``headrace`` that does it.

The launcher of a Flex Template starts this with the parameters and its own options for Beam (``--runner=DataflowRunner``,
``--project``, ``--template_location``, …), all in one list; ``headrace template run --local`` starts it with the parameters alone.
Whatever is no parameter goes to Beam as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cli.console import stderr
from cli.main import main as headrace
from contracts.errors import ConfigurationError
from templates.build.catalog import Template, template_named
from templates.build.flex import PROJECT_FOLDER
from templates.build.parameters import arguments_of, check_parameters, parameters_of

PIPELINE = "HEADRACE_PIPELINE"  # set in the image: which pipeline, where the launcher does not say it
PROJECT = "HEADRACE_PROJECT"  # set in the image: the project that it was built with
_RUNNERS = {"DataflowRunner": "dataflow", "DirectRunner": "direct", "FlinkRunner": "flink"}


@dataclass(frozen=True)
class Launch:
    """A launch: which template, the values of its parameters, and what goes to Beam."""

    template: Template
    given: dict[str, str]
    beam_options: list[str]

    def arguments(self) -> list[str]:
        """The arguments of ``headrace``.

        Raises:
            ConfigurationError: names every parameter that is missing or wrong.
        """
        given = dict(self.given)
        if given.get("runner") == "dataflow" and "dataflow" not in self._runners():
            raise ConfigurationError(
                f"template {self.template.name}: does not run on Dataflow; `headrace template run --local`, or Kubernetes"
            )
        known = (*parameters_of(self.template), PROJECT_FOLDER)
        check_parameters(self.template, given, known)
        project = given.pop(PROJECT_FOLDER.name, os.environ.get(PROJECT))
        head, beam = _without_beam(arguments_of(self.template, given, self.beam_options))
        return [*head, *([f"--project={project}"] if project else []), *beam]

    def _runners(self) -> tuple[str, ...]:
        return next(parameter.choices for parameter in parameters_of(self.template) if parameter.name == "runner")


def _without_beam(arguments: list[str]) -> tuple[list[str], list[str]]:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut:]


def read_launch(argv: Sequence[str]) -> Launch:
    """A launcher's list of arguments, read.

    Raises:
        ConfigurationError: no pipeline is named, or a parameter is given twice.
    """
    pairs = list(_pairs(argv))
    name = next((value for key, value in pairs if key == "pipeline" and value), None) or os.environ.get(PIPELINE)
    if not name:
        raise ConfigurationError(f"which pipeline: give --pipeline NAME, or set {PIPELINE}")
    template = template_named(name)
    names = {parameter.name for parameter in (*parameters_of(template), PROJECT_FOLDER)}
    given: dict[str, str] = {}
    beam: list[str] = []
    for key, value in pairs:
        if key == "pipeline":
            continue
        if key in names and value is not None:
            if key in given:
                raise ConfigurationError(f"{key}: given twice; several values of one parameter have one space between two")
            given[key] = _RUNNERS.get(value, value) if key == "runner" else value
        else:
            beam.append(f"--{key}" if value is None else f"--{key}={value}")
    return Launch(template, given, beam)


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """``--name=value`` and ``--name value``; None for a switch."""
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise ConfigurationError(f"argument {argument!r}: expected --name=value")
        name, equals, value = argument[2:].partition("=")
        if equals:
            yield name, value
        elif rest and not rest[0].startswith("--"):
            yield name, rest.pop(0)
        else:
            yield name, None


def main(argv: Sequence[str]) -> int:
    """Launch, and return the exit code of ``headrace``."""
    try:
        arguments = read_launch(argv).arguments()
    except ConfigurationError as error:
        stderr.print(f"headrace: {error}", style="red", markup=False)
        return error.exit_code
    try:
        code = headrace(args=arguments, standalone_mode=False, prog_name="headrace")
    except SystemExit as end:
        code = end.code
    return code if isinstance(code, int) else 0
