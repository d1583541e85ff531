"""``headrace ingest`` with a name for every moment of the sweep at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cli.main import run
from lake.tables import key_filters, publish
from lake.tables.sweep import Swept
from pipelines.ingest.graph import IngestGraph
from quality.gate_report import GateReport
from tests.support.moments import At, Teller


def headrace(arguments: Sequence[str], at: At = lambda _: None) -> None:
    """Run a command to its exit; ``at`` is told of every moment of a sweep at the end of a bounded run.

    These are its beginning and end, the first filter of keys, the first data file for a table, and each commit.

    Raises:
        SystemExit: with the exit code.
    """
    teller = Teller(at, quiet=True)
    sys.argv = ["headrace", *arguments]
    with teller.commits(), _sweep_and_files(teller):
        run()


@contextmanager
def _sweep_and_files(teller: Teller) -> Iterator[None]:
    gate, write_rows, write_filter = IngestGraph.gate, publish.write_rows, key_filters.write_filter

    def told_gate(graph: IngestGraph) -> tuple[Swept, GateReport | None]:
        teller.quiet = False
        teller.tell("before the sweep")
        swept = gate(graph)
        teller.tell("after the sweep")
        teller.quiet = True
        return swept

    def told_rows(table: Any, *rest: Any) -> str:
        name = ".".join(table.name())
        first = teller.times(f"file of {name}") == 1
        if first:
            teller.tell(f"before the first file of {name}")
        path = write_rows(table, *rest)
        if first:
            teller.tell(f"after the first file of {name}")
        return path

    def told_filter(*given: Any) -> Any:
        made = write_filter(*given)
        if teller.times("filter") == 1:
            teller.tell("after the first filter of keys")
        return made

    with (
        mock.patch.object(IngestGraph, "gate", told_gate),
        mock.patch.object(publish, "write_rows", told_rows),
        mock.patch.object(key_filters, "write_filter", told_filter),
    ):
        yield
