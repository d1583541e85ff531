"""Modules of development versions of 0.1.0 by their old names, for one version.

Jobs that run live through an upgrade: the graph of a job on a cluster holds classes by the names of their modules, and its Python
workers start again with whatever is installed by then. So an old name still imports; it gives the module that took its place.
Goes with 0.2.0.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "contracts.compiler.events": "contracts.encode.events",
    "contracts.destination": "contracts.spec.destination",
    "contracts.model": "contracts.spec.model",
    "contracts.odcs": "contracts.spec.odcs",
    "contracts.project": "contracts.spec.project",
    "contracts.rules": "contracts.spec.rules",
    "contracts.source": "contracts.spec.source",
    "contracts.suppressions": "contracts.spec.suppressions",
    "pipelines.deliver": "pipelines.deliver.run",
    "pipelines.deliver_options": "pipelines.deliver.options",
    "pipelines.deliveries": "operations.deliveries",
    "pipelines.files": "pipelines.ingest.files",
    "pipelines.html": "operations.html",
    "pipelines.ingest": "pipelines.ingest.graph",
    "pipelines.ingest_options": "pipelines.ingest.options",
    "pipelines.jobs": "runners.jobs.list",
    "pipelines.manifest": "lake.runs.manifest",
    "pipelines.options": "runners.option_fields",
    "pipelines.replay.cells": "operations.cells",
    "pipelines.replay.difference": "operations.replay.difference",
    "pipelines.replay.page": "operations.replay.page",
    "pipelines.replay.promote": "operations.replay.promote",
    "pipelines.replay.record": "lake.runs.replays",
    "pipelines.replay.states": "operations.replay.states",
    "pipelines.replay.tally": "operations.replay.tally",
    "pipelines.replay_options": "pipelines.replay.options",
    "pipelines.run": "pipelines.ingest.run",
    "pipelines.submission": "lake.runs.submission",
    "pipelines.submit": "runners.jobs.submit",
    "pipelines.supervision": "runners.jobs.supervise",
    "pipelines.templates.launch": "cli.launch",
    "pipelines.topics": "pipelines.ingest.topics",
    "pipelines.version": "contracts.version",
    "runners.flink": "runners.flink.submit",
    "runners.flink_failures": "runners.flink.failures",
    "runners.flink_rest": "runners.flink.rest",
    "transforms.converge.fold": "lake.tables.fold",
    "transforms.converge.publish": "lake.tables.publish",
    "transforms.converge.swap": "lake.tables.swap",
    "transforms.decode": "transforms.decode.decode",
    "transforms.deliver.desk": "transforms.deliver.dispatcher",
    "transforms.deliver.receipts": "lake.receipts.receipts",
    "transforms.deliver.state": "lake.receipts.state",
    "transforms.garage": "transforms.readers.pool",
    "transforms.ipc": "lake.tables.ipc",
    "transforms.kafka.messages": "transforms.read.messages",
    "transforms.kafka.poll": "transforms.read.poll",
    "transforms.kafka.progress": "transforms.read.partitions",
    "transforms.kafka.read": "transforms.read.kafka",
    "transforms.lake.expire": "lake.tables.expire",
    "transforms.lake.landed": "lake.raw.positions",
    "transforms.lake.ledger": "lake.ledger.ledger",
    "transforms.lake.ledger_upkeep": "lake.ledger.upkeep",
    "transforms.lake.location": "lake.location",
    "transforms.lake.raw": "lake.raw.files",
    "transforms.lake.records": "lake.raw.records",
    "transforms.lake.segments": "lake.raw.segments",
    "transforms.lake.streams": "lake.ledger.logs",
    "transforms.lake.storage.iceberg": "lake.storage.file_io",
    "transforms.lake.tables": "lake.tables.iceberg",
    "transforms.lake.upkeep": "lake.upkeep",
    "transforms.outcomes": "lake.ledger.outcomes",
    "transforms.replay.diff": "lake.tables.diff",
    "transforms.replay.letters": "operations.replay.letters",
    "transforms.replay.read": "transforms.read.raw",
    "transforms.replay.select": "pipelines.replay.select",
}
MOVED_PACKAGES = {  # with all that was in them
    "pipelines.cli": "cli",
    "pipelines.reconcile": "operations.reconcile",
    "pipelines.templates": "templates.build",
    "runners.stack": "devstack",
    "transforms.formats": "lake.formats",
    "transforms.lake.storage": "lake.storage",
}
GONE_PACKAGES = frozenset({"transforms.lake", "transforms.replay"})  # what was in them lies in several places now


def new_name(old: str) -> str | None:
    """The module that took the place of an old one; None if it was not moved."""
    if old in MOVED:
        return MOVED[old]
    package, rest = old, ""
    while package and package not in MOVED_PACKAGES:
        package, _, last = package.rpartition(".")
        rest = f".{last}{rest}"
    return MOVED_PACKAGES[package] + rest if package else None


class _OldNames(MetaPathFinder, Loader):
    """Gives the very module that has the new name, so that there is one class, not two."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in GONE_PACKAGES:
            return ModuleSpec(fullname, self, is_package=True)
        return ModuleSpec(fullname, self) if new_name(fullname) and fullname not in _REUSED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        new = new_name(spec.name)
        if new is None:
            return None
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and isinstance(spec.loader_state, ModuleSpec):
            module.__spec__ = spec.loader_state  # the import system has put the alias's there


# Packages that stand where modules were.
_REUSED = frozenset(old for old in MOVED if any(new.startswith(f"{old}.") for new in MOVED.values()))


def install() -> None:
    """Let old names import. Does nothing the second time."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OldNames())


def forward(module: str) -> Any:
    """A package's ``__getattr__`` for names of the module that once stood in its place."""

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(module), name)

    return get
