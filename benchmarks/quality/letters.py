"""``python -m benchmarks.quality.letters``: how long ``headrace deadletter`` takes over a million letters, process start included.

Letters of a month are written by day and shard, as a table has them that is folded into: a few causes with many letters each, many
causes with few, keys that a hostile sender made up, letters that were closed, and raw bytes as of the web source. Each command is
a process of its own; the fastest of three counts, since others use the machine too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from benchmarks.ingest.sample import CACHE
from contracts.compiler.schemas import TIMESTAMP
from contracts.units import DAY_S, DAY_US, SECOND_US, us_text
from lake.location import Lake
from lake.tables.iceberg import DEAD_LETTER_SCHEMA, DEAD_LETTERS, Layout, ensure_table
from lake.tables.letter_history import HISTORY, HISTORY_SCHEMA, ensure_history
from lake.tables.letters import publish_letters
from operations.deadletters.late import hex_texts
from transforms.cut import Cut
from transforms.letters import by_range

DAYS, SHARDS = 30, 4
_FIRST_US = 1_790_000_000 // DAY_S * DAY_S * SECOND_US
_CLOSED = 0.02
_ROUNDS = 3
_SOURCES = ("web", "mobile", "orders")
# code, rule, path, expected, how many of a thousand letters
_CAUSES = (
    ("bad_timestamp", "timestamp", "originalTimestamp", "RFC 3339 with a zone or a number since the epoch", 400),
    ("missing_required", "require_any", "userId|anonymousId", "a value", 250),
    ("wrong_type", "type", "userId", "string", 150),
    ("not_in_enum", "enum", "type", "one of track, identify, page, screen, group, alias", 80),
    ("malformed", "syntax", "$", "well-formed JSON", 60),
    ("bad_length", "length", "event", "at most 256 characters", 40),
    ("unknown_field", "unknown_field", "", "no such field in the contract", 20),  # each with a key of its own
)
_PROJECT = Path(__file__).parents[2] / "examples" / "webshop"


@dataclass(frozen=True)
class Timed:
    """A command. seconds: the fastest; all: of every round. peak_mib: resident, at most."""

    command: str
    seconds: float
    all: tuple[float, ...]
    peak_mib: float


def make_lake(folder: Path, letters: int, days: int = DAYS) -> str:
    """A lake with so many letters; the id of one of them. Nothing else is in it.

    Args:
        folder: where, beside a project of the webshop's sources; what was there goes.
        letters: how many.
        days: over how many days they spread.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "project").mkdir(parents=True)
    config = {"lake": str(folder / "lake"), "sources": [str(_PROJECT / "sources")]}
    (folder / "project" / "headrace.yaml").write_text(yaml.safe_dump(config))
    lake = Lake.at(str(folder / "lake"))
    lake.create()
    ensure_table(lake, DEAD_LETTERS, DEAD_LETTER_SCHEMA, Layout(num_shards=SHARDS))
    ensure_history(lake)
    random = np.random.default_rng(18)
    for day in range(days):
        rows = _letters(random, day, letters * (day + 1) // days - letters * day // days)
        publish_letters(lake, by_range(rows, Cut(window_s=DAY_S, num_shards=SHARDS)), "bench")
        lake.catalog().load_table(HISTORY).append(_closed(rows.slice(0, int(len(rows) * _CLOSED))))
    return str(rows.column("dead_letter_id")[len(rows) // 2].as_py())


def _letters(random: np.random.Generator, day: int, count: int) -> pa.Table:
    ids = hex_texts(pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(random.bytes(16 * count))]))
    which = random.choice(len(_CAUSES), count, p=np.array([cause[-1] for cause in _CAUSES]) / 1_000)
    cause = [pa.array([one[part] for one in _CAUSES]).take(pa.array(which)) for part in range(4)]
    key = pc.binary_join_element_wise("key_", pc.utf8_slice_codeunits(ids, 0, 12), "")
    path = pc.if_else(pc.equal(cause[2], ""), key, cause[2])
    violations = pa.ListArray.from_arrays(
        np.arange(count + 1, dtype=np.int32), pa.StructArray.from_arrays([path, cause[1], cause[3]], ["path", "rule", "expected"])
    )
    times = pa.array(_FIRST_US + day * DAY_US + np.sort(random.integers(0, DAY_US, count))).cast(TIMESTAMP)
    source = pa.array(_SOURCES).take(pa.array(random.integers(0, len(_SOURCES), count)))
    position = np.arange(count, dtype=np.int64)
    raw_file = f"{day:064x}"
    raw = pc.binary_join_element_wise(
        '{"messageId":"', ids, '","type":"view","event":"Product Viewed","userId":70077,"originalTimestamp":"yesterday","context":'
        '{"page":{"url":"https://shop.example/p/1"},"ip":"192.0.2.1","userAgent":"Mozilla/5.0"},"properties":{"n":1}}', "",
    )  # fmt: skip
    given = {
        "dead_letter_id": ids, "code": cause[0], "violations": violations.cast(DEAD_LETTER_SCHEMA.field("violations").type),
        "stage": "decode", "dataset": "customer_event", "contract_version": "1.0.0", "source": source, "event_id": ids,
        "position": pc.binary_join_element_wise(raw_file, pa.array(position).cast(pa.string()), ":"), "received_at": times,
        "run_id": "bench", "attempt": 1, "raw": raw.cast(pa.binary()), "_window_time": times, "_received_at": times,
        "_time_corrected": False, "_source": source, "_raw_file": raw_file, "_position": position,
        "_fingerprint": bytes(16), "_row_hash": bytes(16), "_rank": b"", "_revision": None,
    }  # fmt: skip
    columns = [
        pa.repeat(pa.scalar(given[field.name], field.type), count)
        if isinstance(given[field.name], str | bytes | int | None)
        else pa.array(given[field.name]).cast(field.type)
        for field in DEAD_LETTER_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=DEAD_LETTER_SCHEMA)


def _closed(letters: pa.Table) -> pa.Table:
    told = {"act": "closed", "outcome": "closed", "at": datetime.now(UTC), "by": "bench", "attempt": 1}
    names = {"raw_file": "_raw_file", "position": "_position"}
    columns = [
        letters.column(names.get(field.name, field.name)).cast(field.type)
        if field.name in ("dead_letter_id", "source", "dataset", "code", *names)
        else pa.repeat(pa.scalar(told.get(field.name), field.type), len(letters))
        for field in HISTORY_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=HISTORY_SCHEMA)


def commands(dead_letter_id: str) -> dict[str, tuple[str, ...]]:
    """What is timed, by name."""
    since, until = us_text(_FIRST_US + (DAYS - 1) * DAY_US), us_text(_FIRST_US + DAYS * DAY_US)
    return {
        "list": ("list",),
        "list --code malformed": ("list", "--code", "malformed"),
        "list --state closed": ("list", "--state", "closed"),
        "stats": ("stats",),
        "stats --since … --until …, a day": ("stats", "--since", since, "--until", until),
        "stats --by code": ("stats", "--by", "code"),
        "show, an id": ("show", dead_letter_id),
        "show, eight digits": ("show", dead_letter_id[:8]),
        "show --reveal": ("show", dead_letter_id, "--reveal"),
    }


# Another process between: what a child has at most would begin with what this one has.
_LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
took = time.perf_counter() - began
print(json.dumps([took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, done.returncode, done.stderr]))
"""


def timed(folder: Path, name: str, arguments: Sequence[str], rounds: int = _ROUNDS) -> Timed:
    """A command, each time as a process of its own."""
    taken, peak = [], 0.0
    command = [sys.executable, "-m", "cli.main", "deadletter", *arguments, "--project", str(folder / "project")]
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", _LAUNCHER, *command], capture_output=True, text=True, check=True)
        seconds, mib, code, said = json.loads(done.stdout)
        if code:
            raise RuntimeError(f"{name}: exit {code}: {said}")
        taken.append(seconds)
        peak = max(peak, mib)
    return Timed(name, min(taken), tuple(round(one, 3) for one in taken), round(peak, 1))


def main() -> None:
    """Make the lake, time the commands, print a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--folder", type=Path, default=CACHE / "letters")
    chosen = parser.parse_args()
    dead_letter_id = make_lake(chosen.folder, chosen.letters, chosen.days)
    found = [timed(chosen.folder, name, arguments) for name, arguments in commands(dead_letter_id).items()]
    shutil.rmtree(chosen.folder)
    print(json.dumps({"letters": chosen.letters, "days": chosen.days, "commands": [asdict(one) for one in found]}, indent=2))


if __name__ == "__main__":
    main()
