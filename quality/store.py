"""Verdicts kept: the table ``ops.quality``, append only. Baselines read what was observed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThanOrEqual, LessThan

from contracts.compiler.schemas import TIMESTAMP
from contracts.spec.quality import Severity
from contracts.units import HOUR_S, datetime_to_us, us_to_datetime
from lake.location import Lake
from lake.tables.appended import merge_appended
from lake.tables.expire import expire_snapshots
from lake.tables.iceberg import committed, ensure_table
from lake.upkeep import EXPIRE_AT
from quality.verdicts import Partition, RuleVerdict, Verdict

QUALITY = "ops.quality"
_SAMPLE = pa.struct([pa.field("source", pa.string()), pa.field("raw_file", pa.string()), pa.field("position", pa.int64())])
QUALITY_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("judged_at", TIMESTAMP, nullable=False),
        pa.field("snapshot_id", pa.int64()),  # the state of the table that was judged; null where it had no rows
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("partition_from", TIMESTAMP, nullable=False),
        pa.field("partition_to", TIMESTAMP, nullable=False),
        pa.field("contract_version", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("column", pa.string()),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("observed", pa.float64()),
        pa.field("observed_text", pa.string()),  # in place of observed, where that is no number or too large for one
        pa.field("expected", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("failing", pa.int64(), nullable=False),
        pa.field("samples", pa.list_(_SAMPLE)),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("baseline", pa.list_(pa.string())),
        pa.field("observation", pa.string()),
        pa.field("content", pa.string()),  # names the rows that a gate judged; null where no gate did
    ]
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict as it is kept.

    at_us: when it was given, the same for all rules of a partition. snapshot_id: the state of the table that was judged. content:
    names the rows of the partition that a gate judged, see ``Acceptance``; None where no gate did.
    """

    run_id: str
    at_us: int
    snapshot_id: int | None
    contract_version: str
    verdict: RuleVerdict
    content: str | None = None


def keep_verdicts(lake: Lake, judgements: Sequence[Judgement]) -> None:
    """Append verdicts, in one commit. The table is made where there is none; its small files and old snapshots are kept few.

    Raises:
        ComponentDownError: no commit succeeded before the deadline.
    """
    if not judgements:
        return
    rows = pa.Table.from_pylist([_row(each) for each in judgements], schema=QUALITY_SCHEMA)
    main = Lake(lake.root, lake.catalog_url)  # what was judged may be on a branch; what is known of it is for everybody
    ensure_table(main, QUALITY, QUALITY_SCHEMA, None)
    committed(QUALITY, lambda: main.load(QUALITY).append(rows))
    merge_appended(main, QUALITY)
    expire_snapshots(main, QUALITY, keep_s=HOUR_S, at_least=EXPIRE_AT)


def judgements(
    lake: Lake,
    *,
    dataset: str | None = None,
    from_us: int | None = None,
    to_us: int | None = None,
    run_id: str | None = None,
    rule: str | None = None,
    judged_before_us: int | None = None,
) -> Iterator[Judgement]:
    """Verdicts that were kept, in no order that means anything; each once, however often it was written.

    Args:
        lake: where.
        dataset: only of this dataset.
        from_us: only of partitions that begin at this time or later, microseconds.
        to_us: only of partitions that begin before.
        run_id: only of this run.
        rule: only of rules of this name.
        judged_before_us: only those that were given before this time, microseconds.
    """
    equal = {"dataset": dataset, "run_id": run_id, "rule": rule}
    wanted: list[BooleanExpression] = [EqualTo(name, value) for name, value in equal.items() if value]
    wanted += [GreaterThanOrEqual("partition_from", _moment(from_us))] if from_us is not None else []
    wanted += [LessThan("partition_from", _moment(to_us))] if to_us is not None else []
    wanted += [LessThan("judged_at", _moment(judged_before_us))] if judged_before_us is not None else []
    found: dict[Judgement, None] = {}
    for batch in _read(lake, wanted, QUALITY_SCHEMA):
        found.update(dict.fromkeys(map(_judgement, batch.to_pylist())))
    yield from found


def kept_rows(lake: Lake, schema: pa.Schema, *, dataset: str, from_us: int) -> pa.Table:
    """The same as they lie, each as often as it was written, with the columns of a schema; empty where nothing was kept."""
    wanted = [EqualTo("dataset", dataset), GreaterThanOrEqual("partition_from", _moment(from_us))]
    return pa.concat_tables([schema.empty_table(), *_read(lake, wanted, schema)])


def _moment(us: int) -> str:
    return us_to_datetime(us).isoformat()


def _read(lake: Lake, wanted: Iterable[BooleanExpression], schema: pa.Schema) -> Iterator[pa.Table]:
    condition: BooleanExpression = AlwaysTrue()
    for each in wanted:
        condition = And(condition, each)
    try:
        table = Lake(lake.root, lake.catalog_url).load(QUALITY)
    except NoSuchTableError:
        return
    for batch in table.scan(condition, tuple(schema.names)).to_arrow_batch_reader():
        yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def newest(found: Iterable[Judgement]) -> dict[tuple[Partition, str], Judgement]:
    """The newest judgement of each partition, by rule. What an older one says of other rules is past: they are gone."""
    chosen: dict[Partition, dict[str, Judgement]] = {}
    for each in found:
        partition = each.verdict.partition
        known = next(iter(chosen.get(partition, {}).values()), None)
        if known is None or _age(known) < _age(each):
            chosen[partition] = {each.verdict.rule: each}
        elif _age(known) == _age(each):
            chosen[partition][each.verdict.rule] = each
    return {(partition, rule): each for partition, by_rule in chosen.items() for rule, each in by_rule.items()}


def _age(judgement: Judgement) -> tuple[int, str]:
    return judgement.at_us, judgement.run_id


def _row(judgement: Judgement) -> dict[str, Any]:
    told = judgement.verdict
    number = isinstance(told.observed, int | float)
    return {
        "run_id": judgement.run_id,
        "judged_at": judgement.at_us,
        "snapshot_id": judgement.snapshot_id,
        "dataset": told.partition.dataset,
        "partition_from": told.partition.from_us,
        "partition_to": told.partition.to_us,
        "contract_version": judgement.contract_version,
        "rule": told.rule,
        "kind": told.kind,
        "column": told.column,
        "severity": str(told.severity),
        "verdict": str(told.verdict),
        "observed": told.observed if number else None,
        "observed_text": None if number else told.observed,
        "expected": told.expected,
        "rows": told.rows,
        "failing": told.failing,
        "samples": [dict(zip(("source", "raw_file", "position"), place, strict=True)) for place in told.samples],
        "detail": told.detail,
        "baseline": list(told.baseline),
        "observation": told.observation or None,
        "content": judgement.content,
    }


def _judgement(row: Mapping[str, Any]) -> Judgement:
    partition = Partition(row["dataset"], *(datetime_to_us(row[name]) for name in ("partition_from", "partition_to")))
    return Judgement(
        run_id=row["run_id"],
        at_us=datetime_to_us(row["judged_at"]),
        snapshot_id=row["snapshot_id"],
        contract_version=row["contract_version"],
        content=row["content"],
        verdict=RuleVerdict(
            rule=row["rule"],
            kind=row["kind"],
            column=row["column"],
            severity=Severity(row["severity"]),
            partition=partition,
            verdict=Verdict(row["verdict"]),
            observed=row["observed_text"] if row["observed"] is None else row["observed"],
            expected=row["expected"],
            rows=row["rows"],
            failing=row["failing"],
            samples=tuple((each["source"], each["raw_file"], each["position"]) for each in row["samples"] or ()),
            detail=row["detail"],
            baseline=tuple(row["baseline"] or ()),
            observation=row["observation"] or "",
        ),
    )
