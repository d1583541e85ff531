"""From one major of a contract to the next: what to do, step by step, and whether the two tables say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from contracts.evolution.impact import Surroundings
from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from contracts.units import us_text
from lake.location import Lake
from lake.storage import read_parquet
from lake.tables.iceberg import PublishedFile, num_shards, published_files, settled_snapshot

_WINDOW = timedelta(days=90)  # of deprecation, where the contract names no day


@dataclass(frozen=True)
class Compared:
    """The published rows of two majors, by id.

    both, only_old, only_new: how many rows, by id; an id may have several, in different minutes. differing: by column that both
    have, rows in which it differs, of ids with one row in each. examples: ids of which the old table has more, at most ten.
    """

    old: str
    new: str
    both: int
    only_old: int
    only_new: int
    differing: dict[str, int]
    examples: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether no row is missing and no value differs."""
        return not (self.only_old or any(self.differing.values()))


def compare_majors(lake: Lake, old: Contract, new: Contract) -> Compared:
    """Compare the settled rows of two majors, a shard at a time.

    Columns are compared where both majors have one of that name and its values can be cast to the new type; one that cannot be cast
    differs.

    Raises:
        NoSuchTableError: one of the tables is not there yet.
    """
    tables = [lake.load(contract.table) for contract in (old, new)]
    files = [published_files(table, settled_snapshot(table)) for table in tables]
    shared = [c.name for c in new.columns if c.name in old.by_name and c.name not in (new.event_id, *new.computed)]
    both = only_old = only_new = 0
    differing = dict.fromkeys(shared, 0)
    examples: list[str] = []
    shards = {num_shards(table) for table in tables}
    for shard in range(shards.pop()) if len(shards) == 1 else (None,):
        left, right = (_rows(own, (contract.event_id, *shared), shard) for own, contract in zip(files, (old, new), strict=True))
        counts = _counts(left, old.event_id).join(_counts(right, new.event_id), "id", join_type="full outer", right_suffix="_new")
        here, there = (pc.fill_null(counts.column(name), 0) for name in ("count", "count_new"))
        both += pc.sum(pc.min_element_wise(here, there)).as_py() or 0
        gone = pc.subtract(here, pc.min_element_wise(here, there))
        only_old += pc.sum(gone).as_py() or 0
        only_new += pc.sum(pc.subtract(there, pc.min_element_wise(here, there))).as_py() or 0
        examples += sorted(counts.column("id").filter(pc.greater(gone, 0)).to_pylist())[: 10 - len(examples)]
        single = counts.column("id").filter(pc.and_(pc.equal(here, 1), pc.equal(there, 1))).combine_chunks()
        left, right = (
            rows.filter(pc.is_in(rows.column(contract.event_id), value_set=single))
            for rows, contract in zip((left, right), (old, new), strict=True)
        )
        _count_differences(left, right, (old.event_id, new.event_id), differing)
    return Compared(old.table, new.table, both, only_old, only_new, {k: n for k, n in differing.items() if n}, tuple(examples))


def _rows(files: Sequence[PublishedFile], columns: Sequence[str], shard: int | None) -> pa.Table:
    tables = [read_parquet(file.path, columns) for file in files if shard is None or file.shard == shard]
    schema = pa.unify_schemas([t.schema for t in tables]) if tables else pa.schema([(name, pa.string()) for name in columns])
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")


def _counts(rows: pa.Table, key: str) -> pa.Table:
    ids = rows.select([key]).rename_columns(["id"])
    return ids.group_by("id").aggregate([([], "count_all")]).rename_columns(["id", "count"])


def _count_differences(left: pa.Table, right: pa.Table, keys: tuple[str, str], differing: dict[str, int]) -> None:
    places = pc.index_in(left.column(keys[0]), value_set=right.column(keys[1]).combine_chunks())
    here = pc.is_valid(places)
    left, right = left.filter(here), right.take(places.filter(here))
    for name in differing:
        if name in left.column_names and name in right.column_names:
            differing[name] += _unequal(left.column(name), right.column(name))


def _unequal(old: pa.ChunkedArray, new: pa.ChunkedArray) -> int:
    if pa.types.is_map(new.type):
        pairs = zip(old.to_pylist(), new.to_pylist(), strict=True)
        return sum(sorted(a or ()) != sorted(b or ()) for a, b in pairs)
    try:
        cast = old.cast(new.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pairs = zip(old.to_pylist(), new.to_pylist(), strict=True)
        return sum(a != b for a, b in pairs)
    same = pc.fill_null(pc.equal(cast, new), False)
    both_null = pc.and_(pc.is_null(cast), pc.is_null(new))
    return len(new) - (pc.sum(pc.or_(same, both_null)).as_py() or 0)


@dataclass(frozen=True)
class Playbook:
    """What to do to move from one major to the next. Text in Markdown."""

    old: Contract
    new: Contract
    text: str


def playbook(project: Project, old: Contract, new: Contract, lake: Lake | None, today: date) -> Playbook:
    """Work out the steps.

    Args:
        project: with both contracts.
        old: the former major of a contract.
        new: the next one.
        lake: where the old rows are, for the range of the backfill; None where there is none yet.
        today: from which the deprecation is counted, where the contract names no day.
    """
    around = Surroundings.of(project)
    sources = [s for s in around.sources if (s.dataset, s.version) == (old.name, old.major)]
    moved = {s.raw_source: s.name for s in around.sources if (s.dataset, s.version) == (new.name, new.major)}
    here = f" --project {project.root}" if project.file else ""
    twins = {s.name: moved.get(s.raw_source, f"{_base(s.name)}_v{new.major}") for s in sources}
    until = (old.deprecated.until if old.deprecated else today + _WINDOW).isoformat()
    first, last = _range(lake, old)
    backfill = f"{new.dataset}-backfill"
    lines = [
        f"# {old.name}: from version {old.version} to {new.version}",
        "",
        f"`{new.table}` is a table beside `{old.table}`. Both are written until the last reader has moved. Each step is a command,",
        "and says how it is taken back.",
        "",
        "## 1. Say when the old one ends",
        "",
        f"In `{old.name}.v{old.major}.yaml`; `headrace contract lint` complains after that day:",
        "",
        "```yaml",
        "customProperties:",
        f"  - {{property: deprecated, value: {{until: {until}, use: {new.dataset}}}}}",
        "```",
        "",
        "Taken back: remove the line.",
        "",
        "## 2. Write both",
        "",
        *_twin_lines(sources, twins, new),
        "```bash",
        *(f"headrace contract lint {twin}{here}" for twin in twins.values()),
        "```",
        "",
        "Then start a job of each beside the one that runs, with the same inputs. They share `raw/`: nothing is landed twice.",
        "",
        "```bash",
        *(f"headrace ingest {twin} --input INPUT{here}      # what {name} reads" for name, twin in twins.items()),
        "```",
        "",
        "Taken back: stop these jobs and remove their files; no other table has changed.",
        "",
        "## 3. Backfill",
        "",
        "```bash",
        f"headrace replay plan {backfill} --dataset {new.dataset} --start {first} --end {last}{here}",
        f"headrace replay run {backfill} --dataset {new.dataset} --start {first} --end {last}{here}",
        f"headrace replay diff {backfill}{here}",
        f"headrace replay promote {backfill}{here}",
        "```",
        "",
        f"Taken back: `headrace replay rollback {backfill}{here}`.",
        "",
        "## 4. Hold the new table against the old one",
        "",
        "```bash",
        f"headrace contract compare {old.name} --from {old.major} --to {new.major}{here}",
        *(f"headrace deadletter list --source {twin}{here}" for twin in twins.values()),
        "```",
        "",
        "Rows that only the old table has were rejected by the new contract: they are dead letters. It changes nothing.",
        "",
        "## 5. Move the readers",
        "",
        *_reader_lines(around, old, new),
        "",
        "## 6. End the old one",
        "",
        f"After {until}, when nobody reads `{old.table}`:",
        "",
        "```bash",
        f"headrace job stop JOB{here}      # of each of {', '.join(s.name for s in sources)}; headrace status names them",
        "```",
        "",
        f"The files stay, {', '.join(f'`sources/{s.name}.yaml`' for s in sources) or 'its sources'} and "
        f"`{old.name}.v{old.major}.yaml`: they say how `raw/` was numbered, which the new",
        "source shares, and what the rows of the old table mean. Taken back: start the jobs again; they go on where they stopped.",
        "",
    ]  # fmt: skip
    return Playbook(old, new, "\n".join(lines))


def _base(name: str) -> str:
    return re.sub(r"_v\d+\Z", "", name)


def _twin_lines(sources: Sequence[SourceSpec], twins: dict[str, str], new: Contract) -> Iterator[str]:
    if not sources:
        yield "No source of this project feeds the old one. Write a source spec for the new one."
        yield ""
    for source in sources:
        twin = twins[source.name]
        yield f"`sources/{twin}.yaml` is a copy of `sources/{source.name}.yaml`, with these keys, and the new contract's columns:"
        yield ""
        yield "```yaml"
        yield f"source: {twin}"
        yield f"version: {new.major}"
        yield f"raw: {source.raw_source}"
        yield "```"
        yield ""


def _reader_lines(around: Surroundings, old: Contract, new: Contract) -> Iterator[str]:
    found = False
    for reader in around.readers(old, None):
        if reader.kind == "destination":
            found = True
            yield f"- Destination `{reader.name}`: set `version: {new.major}`, then `headrace deliver {reader.name}` as before."
            yield "  Taken back: set the version back; receipts keep what was sent."
        elif reader.kind == "consumer":
            found = True
            yield f"- {reader.name}: {reader.how}. It reads `{new.table}` from now on."
    if not found:
        yield "No destination and no consumer is known. Name them: `consumers` in the contract or in `headrace.yaml`."


def _range(lake: Lake | None, old: Contract) -> tuple[str, str]:
    files = published_files(lake.load(old.table)) if lake else []
    if not files:
        return "START", "END"
    return us_text(min(f.from_us for f in files), "seconds"), us_text(max(f.to_us for f in files), "seconds")
