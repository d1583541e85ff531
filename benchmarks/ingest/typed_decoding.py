"""What typed decoding would bring: the shop's web events decoded into objects, and into classes made from the source spec.

    python -m benchmarks.ingest.typed_decoding [--events N]

Both read the same lines with msgspec, and take the same top-level values out, a list for each. The classes hold the fields that
the source spec names at the top: ``context``, ``properties`` and ``traits`` are columns as a whole, so they stay objects.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from operator import attrgetter, methodcaller
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.ingest.sample import make_sample
from contracts.spec.project import Project

_BLOCK = 1_500
_ROUNDS = 5


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest.typed_decoding", description="Objects against classes.")
    parser.add_argument("--events", type=int, default=300_000, metavar="N", help="of the sample (default: %(default)s)")
    options = parser.parse_args(arguments)
    lines = [
        line
        for file in sorted(make_sample(options.events, seed=7).folder.glob("*.jsonl"))
        for line in file.read_bytes().splitlines()
    ]
    spec, _ = Project.load(Path("examples/webshop")).source("web")
    fields = sorted(spec.known_fields)
    typed = msgspec.defstruct("WebEvent", [(name, Any, None) for name in fields], gc=False)
    ways: dict[str, tuple[Callable[[bytes], Any], list[Callable[[Any], Any]]]] = {
        "objects": (msgspec.json.Decoder(dict).decode, [methodcaller("get", name) for name in fields]),
        "classes": (msgspec.json.Decoder(typed).decode, [attrgetter(name) for name in fields]),
    }
    gc.disable()
    found = {name: [_spent(lines, *way) for _ in range(_ROUNDS)] for name, way in ways.items()}
    print(f"{len(lines):,} lines, median of {_ROUNDS}, microseconds of CPU a line")
    for name, times in found.items():
        print(f"{name:8} decode {median(d for d, _ in times):.2f}, columns {median(c for _, c in times):.2f}")
    return 0


def _spent(lines: Sequence[bytes], decode: Callable[[bytes], Any], getters: Sequence[Callable[[Any], Any]]) -> tuple[float, float]:
    """Microseconds a line of decoding, and of taking values out."""
    decoding = taking = 0.0
    for start in range(0, len(lines), _BLOCK):
        began = time.process_time()
        records = []
        for line in lines[start : start + _BLOCK]:
            try:
                records.append(decode(line))
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                continue
        decoded = time.process_time()
        for getter in getters:
            list(map(getter, records))
        decoding, taking = decoding + decoded - began, taking + time.process_time() - decoded
    return decoding / len(lines) * 1e6, taking / len(lines) * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
