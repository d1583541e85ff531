"""What differs between two versions of a contract."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from contracts.evolution.changes import BACKWARD, BOTH, FORWARD, NEITHER, Change
from contracts.evolution.columns import column_changes, type_text
from contracts.evolution.quality_rules import quality_changes
from contracts.evolution.row_rules import rule_changes
from contracts.spec.model import Column, Contract, Deduplication


def contract_changes(before: Contract, after: Contract, on: date | None = None) -> list[Change]:
    """Every difference, those that break somebody first.

    Args:
        before: an earlier version.
        after: a later one.
        on: the day on which deprecations count; today, where it is None.
    """
    today = on or datetime.now(UTC).date()
    found = [
        *_identity(before, after),
        *_removed(before, after, today),
        *_added(before, after),
        *(change for c in after.columns if c.name in before.by_name for change in column_changes(before.by_name[c.name], c)),
        *_places(before, after),
        *_unknown(before, after),
        *rule_changes(before, after),
        *quality_changes(before, after),
        *_promises(before, after),
        *_words(before, after),
    ]
    return sorted(found, key=lambda change: (change.documentation, not (change.breaks or change.lost)))


def _identity(before: Contract, after: Contract) -> Iterator[Change]:
    """What the dataset is, and what makes two records one."""
    if before.name != after.name:
        yield Change(
            code="name_changed",
            what=f"the dataset is called {after.name}, was {before.name}",
            breaks=BOTH,
            migration=f"keep {before.name} beside it until every reader has moved",
        )
    if before.kind != after.kind:
        yield Change(
            code="kind_changed",
            what=f"rows are of kind {after.kind}, were {before.kind}",
            breaks=BOTH,
            replay=True,
            migration="make a new major version, and fill it by replay",
        )
    for code, said, old, new in (
        ("event_id_changed", "the id is {}", before.event_id, after.event_id),
        ("event_id_parts_changed", "the id is computed from {}", before.event_id_from, after.event_id_from),
    ):
        if old != new:
            yield Change(
                code=code,
                what=f"{said.format(_listed(new))}, was {_listed(old)}",
                breaks=BOTH,
                replay=True,
                migration="make a new major version, and fill it by replay: no row finds its earlier self under another id",
            )


def _removed(before: Contract, after: Contract, today: date) -> Iterator[Change]:
    added = [column for column in after.columns if column.name not in before.by_name]
    for column in before.columns:
        if column.name in after.by_name:
            continue
        ends = column.deprecated
        over = ends is not None and ends.until < today
        new_name = next((c.name for c in added if _may_be_renamed(column, c)), None)
        hint = f"; if {new_name} is its new name, it is lost under the old one" if new_name else ""
        migration = f"keep {column.name}, deprecate it with a date, and remove it after that"
        if new_name:
            migration = (
                f"keep {column.name} beside {new_name}, filled from the same paths, and deprecate it with use: {new_name}; older "
                f"payloads are read by an upcast in each source ({{rename: …}})"
            )
        breaks = FORWARD if column.required and column.name not in before.computed else NEITHER
        if over:
            migration = f"have the last readers of {column.name} stop first: its data has no default" if breaks else ""
        yield Change(
            code="column_removed",
            column=column.name,
            what=f"{column.name} is gone" + (f", after its deprecation ended on {ends.until}" if over and ends else "") + hint,
            breaks=breaks,
            lost=not over,
            migration=migration,
        )


def _may_be_renamed(gone: Column, added: Column) -> bool:
    """Whether a column could be another one under a new name: the same values, or the same description."""
    if gone.description and gone.description == added.description:
        return True
    return (type_text(gone), gone.enum, gone.pattern, gone.format, gone.unit, gone.identifier, gone.classification) == (
        type_text(added), added.enum, added.pattern, added.format, added.unit, added.identifier, added.classification
    )  # fmt: skip


def _added(before: Contract, after: Contract) -> Iterator[Change]:
    for column in after.columns:
        if column.name in before.by_name:
            continue
        needed = column.required and column.name not in after.computed
        yield Change(
            code="required_column_added" if needed else "column_added",
            column=column.name,
            what=f"{column.name} is new: {type_text(column)}{', required' if needed else ''}",
            breaks=BACKWARD if needed else NEITHER,
            migration=f"make {column.name} optional until every producer sends it, or give it a default by an upcast in each source"
            if needed
            else "",
        )
        if twin := next((c.name for c in after.columns if c is not column and c.name.lower() == column.name.lower()), None):
            yield Change(
                code="names_differ_by_case",
                column=column.name,
                what=f"{column.name} differs from {twin} by case alone, which most databases do not tell apart",
                breaks=BOTH,
                migration=f"call {column.name} something else",
            )
    old, new = ([c.name for c in contract.columns] for contract in (before, after))
    if [n for n in old if n in after.by_name] != [n for n in new if n in before.by_name]:
        yield Change(code="columns_reordered", what="columns stand in another order", documentation=True)


def _places(before: Contract, after: Contract) -> Iterator[Change]:
    """Which columns decide where a row goes, and which of two stands."""
    for code, said, old, new in (
        ("window_time_changed", "windows go by {}", before.window_time, after.window_time),
        ("received_at_changed", "the collector's time is {}", before.received_at, after.received_at),
        ("event_time_changed", "event time is {}", _event_time(before), _event_time(after)),
        ("order_changed", "of two rows of one id the first by {} stands", before.order, after.order),
    ):
        if old != new:
            yield Change(
                code=code,
                what=f"{said.format(_listed(new))}, was {_listed(old)}",
                breaks=BOTH,
                replay=True,
                migration="replay everything: rows of the two versions lie in different windows, or win against each other "
                "differently, until then",
            )
    if before.partition_key != after.partition_key:
        yield Change(
            code="partition_key_changed",
            what=f"rows go to topics by {_listed(after.partition_key)}, was {_listed(before.partition_key)}",
            breaks=BOTH,
            migration="let readers of the topic come to its end first: rows of one key lie in two partitions, without order "
            "between them",
        )
    if before.deduplication != after.deduplication:
        yield _deduplication(before.deduplication, after.deduplication)


def _event_time(contract: Contract) -> tuple[str, ...]:
    rule = contract.event_time
    return (rule.column, rule.original, rule.sent) if rule else ()


def _deduplication(before: Deduplication, after: Deduplication) -> Change:
    old, new = (float("inf") if d.horizon_s is None else d.horizon_s for d in (before, after))
    longer, shorter = new > old or (after.derived and not before.derived), new < old or (before.derived and not after.derived)
    kind = BOTH if longer and shorter else BACKWARD if longer else FORWARD
    return Change(
        code={BOTH: "deduplication_changed", BACKWARD: "deduplication_lengthened", FORWARD: "deduplication_shortened"}[kind],
        what=f"repeats are one event {_horizon(after)}, were {_horizon(before)}",
        breaks=kind,
        replay=True,
        migration="replay everything: a table holds one horizon"
        + ("" if kind is BACKWARD else "; tell consumers that repeats may be rows of their own"),
    )


def _horizon(deduplication: Deduplication) -> str:
    seconds = deduplication.horizon_s
    text = "for ever" if seconds is None else f"for {seconds} s" if seconds else "within one minute"
    return text + (", derived ids too" if deduplication.derived else "")


_UNKNOWN_MIGRATIONS = {
    "from keep": "tell the consumers of {}: it holds nothing new from now on.",
    "from reject": "tell consumers before producers send further fields.",
    "to reject": "name every field that producers send, or have them stop: a record with any other is a dead letter.",
}


def _unknown(before: Contract, after: Contract) -> Iterator[Change]:
    """Fields that no column names."""
    old, new = before.unknown_policy, after.unknown_policy
    if old != new:
        kind = BACKWARD if new == "reject" else FORWARD if old == "reject" else NEITHER
        if old == "keep":
            kind |= FORWARD
        does = {"keep": "kept", "drop": "dropped", "reject": "refused"}
        yield Change(
            code="unknown_fields_changed",
            column=after.unknown_column or before.unknown_column,
            what=f"fields that no column names are {does[new]}, were {does[old]}",
            breaks=kind,
            migration=" ".join(filter(None, (_UNKNOWN_MIGRATIONS.get(f"from {old}"), _UNKNOWN_MIGRATIONS.get(f"to {new}"))))
            .format(before.unknown_column)
            .rstrip("."),
            replay=new == "keep",
        )
    elif before.unknown_column != after.unknown_column:
        yield Change(
            code="unknown_column_changed",
            column=after.unknown_column,
            what=f"fields that no column names are in {after.unknown_column}, were in {before.unknown_column}",
            breaks=BOTH,
            replay=True,
            migration="replay, and tell consumers the new place",
        )


def _promises(before: Contract, after: Contract) -> Iterator[Change]:
    """What the owner promises, and for how long."""
    old, new = ({level.name: level for level in contract.service_levels} for contract in (before, after))
    for name in [*old, *(n for n in new if n not in old)]:
        if old.get(name) != new.get(name):
            was, now = (f"{level.value} {level.unit}".strip() if level else "nothing" for level in (old.get(name), new.get(name)))
            yield Change(
                code="service_level_changed",
                what=f"{name}: {now} is promised, was {was}",
                migration="tell the consumers that rely on it" if name in old else "",
            )
    if before.deprecated != after.deprecated:
        ends = after.deprecated
        what = (
            f"the dataset goes away after {ends.until}" + (f", use {ends.use}" if ends.use else "") if ends else "the dataset stays"
        )
        yield Change(
            code="dataset_deprecated" if ends else "dataset_deprecation_withdrawn", what=what, migration="tell all consumers"
        )
    if before.status != after.status:
        yield Change(code="status_changed", what=f"the contract is {after.status}, was {before.status}")
    if before.compatibility != after.compatibility:
        yield Change(
            code="compatibility_changed",
            what=f"changes keep {after.compatibility}, kept {before.compatibility}",
            migration="change the mode alone first: what changes together with it is held against both modes",
        )


def _words(before: Contract, after: Contract) -> Iterator[Change]:
    """What data does not depend on."""
    for code, what, old, new in (
        ("dataset_description_changed", "the dataset is described anew", before.description, after.description),
        ("owner_changed", f"{after.owner or 'nobody'} owns it, was {before.owner or 'nobody'}", before.owner, after.owner),
        ("contact_changed", f"its owner is reached at {after.contact or 'no address'}", before.contact, after.contact),
        ("consumers_changed", "other consumers are named", before.consumers, after.consumers),
    ):
        if old != new:
            yield Change(code=code, what=what, documentation=True)


def _listed(value: str | tuple[str, ...] | None) -> str:
    return ", ".join((value,) if isinstance(value, str) else value or ()) or "nothing"
