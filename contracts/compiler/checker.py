"""Records in, columns and verdicts out: the fast path over whole columns, and the judge for every record that it suspects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

from contracts.codes import Violation
from contracts.compiler.columns import Values, read_column
from contracts.compiler.exact import CANONICAL_JSON, find_misfit
from contracts.compiler.judge import EMPTY, RecordJudge, text_form
from contracts.compiler.versions import VersionReader
from contracts.spec.model import Contract
from contracts.spec.paths import PayloadPath
from contracts.spec.source import SourceSpec
from contracts.spec.text import plain_text


@dataclass
class Checked:
    """What became of a list of records.

    records: the input as the newest version has it. accepted: indexes into it, ascending. columns: canonical values of the mapped
    columns, one per accepted record. rejected: index to violations. filtered: indexes.
    """

    records: Sequence[Any]
    accepted: list[int]
    columns: dict[str, Values]
    rejected: dict[int, list[Violation]]
    filtered: list[int]


class RecordChecker:
    """Checks decoded records of one source against one contract, thousands at a time.

    The result for a record does not depend on the records beside it. Pure and stateless; picklable by its two arguments.
    """

    def __init__(self, contract: Contract, spec: SourceSpec) -> None:
        self.contract = contract
        self.spec = spec
        self.judge = RecordJudge(contract, spec)
        self._form = text_form(spec)
        self._mapped = [c for c in contract.columns if c.name not in contract.computed]
        self._ruled = {name for rule in contract.rules for name in rule.columns}
        self._exempt = contract.event_id if spec.missing_event_id == "derive" else None
        self._versions = VersionReader(spec.schema_version) if spec.schema_version else None

    def check(
        self,
        records: Sequence[Any],
        envelopes: Sequence[Mapping[str, Any]] | None = None,
        *,
        versions: Sequence[str | None] | None = None,
        failed: Mapping[int, list[Violation]] | None = None,
        suspect_all: bool = False,
    ) -> Checked:
        """Check records.

        Args:
            records: decoded records; what is no dict is malformed.
            envelopes: the SDK batch around each record, where the source has ``records:``.
            versions: what stands beside each record about the version of its schema, see ParsedRecords.
            failed: indexes that the reader rejected already; their entry in ``records`` is ignored.
            suspect_all: send every record to the judge (tests compare this with the fast path).
        """
        rejected: dict[int, list[Violation]] = dict(failed or {})
        if set(map(type, records)) != {dict} or rejected:
            records = list(records)
            for i, record in enumerate(records):
                if type(record) is not dict:
                    rejected.setdefault(i, [Violation("$", "syntax", "an object")])
                if i in rejected:
                    records[i] = EMPTY
        payload, broken = self._newest(records, envelopes, versions)
        records = payload.records
        filtered = self._filtered(payload, rejected)
        decided = rejected.keys() | set(filtered)
        rejected |= {i: [violation] for i, violation in broken.items() if i not in decided}
        decided |= broken.keys()
        columns, suspects = self._fast(payload)
        if suspect_all:
            suspects = {i: set(columns) for i in range(len(records))}
        for i, doubtful in suspects.items():
            if i in decided:
                continue
            known = {name: columns[name][i] for name in self._ruled if name not in doubtful}
            verdict = self.judge.judge(records[i], envelopes[i] if envelopes else EMPTY, only=doubtful, known=known)
            if isinstance(verdict, list):
                rejected[i] = verdict
            else:
                for name, value in verdict.items():
                    columns[name][i] = value
        if not rejected and not filtered:
            return Checked(records, list(range(len(records))), columns, {}, [])
        keep = bytearray(b"\x01") * len(records)
        for i in (*rejected, *filtered):
            keep[i] = 0
        columns = {name: list(compress(values, keep)) for name, values in columns.items()}
        return Checked(records, list(compress(range(len(records)), keep)), columns, rejected, filtered)

    def _newest(
        self, records: Sequence[Any], envelopes: Sequence[Mapping[str, Any]] | None, versions: Sequence[str | None] | None
    ) -> tuple[_Payload, Mapping[int, Violation]]:
        """Records as the newest version has them, and those that cannot be read so."""
        payload = _Payload(records, envelopes)
        if self._versions is None:
            return payload, {}
        path = self._versions.path
        newest = self._versions.read(records, payload.at(path) if path else versions or [None] * len(records))
        return payload if newest.records is records else _Payload(newest.records, envelopes), newest.broken

    def _filtered(self, payload: _Payload, rejected: Mapping[int, Any]) -> list[int]:
        found: set[int] = set()
        for rule in self.spec.filters:
            values = payload.at(rule.path)
            found.update(i for i, value in enumerate(values) if value is not None and plain_text(value) in rule.among)
        return sorted(found - rejected.keys())

    def _fast(self, payload: _Payload) -> tuple[dict[str, Values], dict[int, set[str]]]:
        """Canonical values by column, and the records that the judge must see: index to the columns that are in doubt."""
        columns: dict[str, Values] = {}
        suspects: defaultdict[int, set[str]] = defaultdict(set)
        for column in self._mapped:
            raw = payload.first(self.spec.columns.get(column.name, ()), column.null_tokens)
            values, unsure = read_column(column, raw, self._form)
            columns[column.name] = values
            if column.name == self._exempt:
                unsure = [i for i in unsure if raw[i] is not None and not (type(raw[i]) is str and raw[i] in column.null_tokens)]
            for i in unsure:
                suspects[i].add(column.name)
        _suspect(suspects, self._unknown(payload.records, columns))
        for rule in self.contract.rules:
            _suspect(suspects, rule.suspects(columns))
        return columns, suspects

    def _unknown(self, records: Sequence[Mapping[str, Any]], columns: dict[str, Values]) -> list[int]:
        """Fill the column of unknown fields; the records whose unknown fields the judge must see."""
        policy, known = self.contract.unknown_policy, self.spec.known_fields
        if policy == "drop":
            return []
        odd = [i for i, record in enumerate(records) if not known.issuperset(record)]
        if policy == "reject":
            return odd
        assert self.contract.unknown_column
        extra: Values = [None] * len(records)
        unfit = []
        for i in odd:
            unknown = {key: value for key, value in records[i].items() if key not in known}
            if self._form.typed and find_misfit(unknown):
                unfit.append(i)
                continue
            extra[i] = CANONICAL_JSON.encode(unknown).decode()
        columns[self.contract.unknown_column] = extra
        return unfit


def _suspect(suspects: defaultdict[int, set[str]], indexes: Iterable[int]) -> None:
    """Name records, whatever is known of their columns."""
    for i in indexes:
        suspects.setdefault(i, set())


class _Payload:
    """Records as columns of values by path; the objects on the way to nested values are looked up once."""

    def __init__(self, records: Sequence[Mapping[str, Any]], envelopes: Sequence[Mapping[str, Any]] | None) -> None:
        self.records = records
        self._count = len(records)
        self._objects: dict[tuple[bool, tuple[str, ...]], _Objects] = {
            (False, ()): _Objects(records, None),
            (True, ()): _Objects(envelopes, None) if envelopes else _Objects([], []),
        }

    def at(self, path: PayloadPath) -> Values:
        """The values at a path, None where there is none. A new list."""
        objects = self._inside(path.envelope, path.steps[:-1])
        key = path.steps[-1]
        found = [item.get(key) for item in objects.items]
        return found if objects.indexes is None else self._spread(found, objects.indexes)

    def first(self, paths: Sequence[PayloadPath], null_tokens: frozenset[str]) -> Values:
        """The first value among these paths that is no null token, per record. A new list."""
        if not paths:
            return [None] * self._count
        values = self.at(paths[0])
        for path in paths[1:]:
            if null_tokens:
                values = [None if type(value) is str and value in null_tokens else value for value in values]
            if None not in values:
                break
            values = [b if a is None else a for a, b in zip(values, self.at(path), strict=True)]
        return values

    def _inside(self, envelope: bool, steps: tuple[str, ...]) -> _Objects:
        key = (envelope, steps)
        if key not in self._objects:
            values = self.at(PayloadPath(steps, envelope))
            if set(map(type, values)) == {dict}:
                self._objects[key] = _Objects(values, None)
            else:
                indexes = [i for i, value in enumerate(values) if type(value) is dict]
                self._objects[key] = _Objects([values[i] for i in indexes], indexes)
        return self._objects[key]

    def _spread(self, found: Values, indexes: Sequence[int]) -> Values:
        values: Values = [None] * self._count
        for i, value in zip(indexes, found, strict=True):
            values[i] = value
        return values


class _Objects(NamedTuple):
    """The objects at a path. indexes: the records that have one; None for all."""

    items: Sequence[Mapping[str, Any]]
    indexes: Sequence[int] | None
