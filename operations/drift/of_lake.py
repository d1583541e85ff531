"""The tables that a project's sources fill, and what the lake has: see tables.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from contracts.compiler.schemas import row_schema
from contracts.errors import ConfigurationError
from contracts.evolution.impact import contract_files
from contracts.spec.model import Contract
from contracts.spec.odcs import load_contract
from contracts.spec.project import Project
from lake.kept_contracts import kept_contracts
from lake.location import Lake
from lake.tables.iceberg import (
    DERIVED_PROPERTY,
    GRID_PROPERTY,
    HORIZON_PROPERTY,
    RANGE_COLUMNS,
    SHARDS_PROPERTY,
    Layout,
    plain_type,
)
from operations.drift.differences import Difference, Kind, Looked
from operations.drift.tables import DeployedTable, WantedTable, compare_tables

_SPACES = ("validated", "late")
_UPGRADED = frozenset({GRID_PROPERTY, HORIZON_PROPERTY, DERIVED_PROPERTY})
_NESTED = "nested"


def look_at_tables(project: Project, lake: Lake, options: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference | Looked]:
    """Compare tables.

    Args:
        project: the repository.
        lake: which has them.
        options: of the sources and streams of its schedules, by source, as a run notes them.

    Raises:
        ComponentDownError: the catalog does not answer.
    """
    wanted: list[WantedTable] = []
    by_dataset: dict[str, list[str]] = {}
    contracts: dict[str, Contract] = {}
    for source in project.source_names:
        try:
            spec, contract = project.source(source)
        except ConfigurationError as error:
            yield _unreadable(f"source {source}", str(project.root), error)
            continue
        by_dataset.setdefault(contract.dataset, []).append(spec.name)
        contracts[contract.dataset] = contract
    for dataset, sources in by_dataset.items():
        wanted += _wanted(project, contracts[dataset], sources, options)
    known: set[str] = {name for contract in contracts.values() for name in (contract.table, contract.late_table)}
    for path in contract_files(project):
        try:
            contract = load_contract(path)
        except ConfigurationError as error:
            yield _unreadable(f"contract {path.stem}", str(path), error)
            name, _, major = path.stem.rpartition(".v")
            known |= {f"{space}.{name if major == '1' else f'{name}_v{major}'}" for space in _SPACES}
        else:
            known |= {contract.table, contract.late_table}
    catalog = lake.catalog()
    deployed = {name: table for name in _names(catalog) if (table := _deployed(catalog, name)) is not None}
    yield Looked(kind=Kind.TABLES, where=lake.root, things=len(wanted))
    kept = {dataset: kept_contracts(lake, dataset) for dataset in by_dataset}
    yield from compare_tables(lake.root, wanted, deployed, kept, frozenset(known))


def _wanted(
    project: Project, contract: Contract, sources: Sequence[str], options: Mapping[str, Mapping[str, Any]]
) -> Iterator[WantedTable]:
    """The two tables of a dataset; their shards only where a schedule says how they are filled."""
    plan = project.schedules
    batches = [source for source in sources if plan and source in plan.sources]
    scheduled = [source for source in sources if source in options]
    layout = Layout(num_shards=int(options[scheduled[0]]["num_shards"])) if scheduled else Layout()
    rule = contract.deduplication
    deduplicated = Layout(layout.grid_s, layout.num_shards, rule.horizon_s, rule.derived)
    columns = _columns(pa.schema([*row_schema(contract), *RANGE_COLUMNS]))
    required = {column.name for column in contract.columns if column.required}
    never_null = {field.name for field in (*row_schema(contract), *RANGE_COLUMNS) if not field.nullable}
    fill = f"headrace ingest {sources[0]} --input …"
    if plan and batches:
        fill = f"airflow dags trigger {plan.name}.ingest.{batches[0]}, or its next run by schedule"
    for name, cut in ((contract.table, deduplicated), (contract.late_table, layout)):
        wanted = cut.properties() | ({} if scheduled else {SHARDS_PROPERTY: ""})
        yield WantedTable(
            name=name,
            contract=contract,
            columns=columns,
            required=frozenset(required | never_null),
            layout={key: value for key, value in wanted.items() if value},
            upgraded=_UPGRADED,
            fill=fill,
            pending=bool(batches),
            file=str(project.contract_path(contract.name, contract.major)),
        )


def _names(catalog: Catalog) -> list[str]:
    found = []
    for space in _SPACES:
        try:
            found += [".".join(name) for name in catalog.list_tables(space)]
        except NoSuchNamespaceError:
            continue
    return sorted(found)


def _deployed(catalog: Catalog, name: str) -> DeployedTable | None:
    """None where its metadata is gone, of which ``headrace lake check`` tells."""
    try:
        table = catalog.load_table(name)
    except (NoSuchTableError, FileNotFoundError):
        return None
    schema = table.schema()
    required = frozenset(field.name for field in schema.fields if field.required)
    return DeployedTable(columns=_columns(schema.as_arrow()), required=required, properties=dict(table.properties))


def _columns(schema: pa.Schema) -> dict[str, str]:
    return {field.name: _NESTED if pa.types.is_nested(field.type) else plain_type(field.type) for field in schema}


def _unreadable(what: str, where: str, error: ConfigurationError) -> Difference:
    return Difference(
        kind=Kind.TABLES, what=what, where=where, deployed="not compared", repository=str(error).splitlines()[0],
        remedy="headrace contract lint says what is wrong",
    )  # fmt: skip
