"""Memory is bounded by the slice, not by the input: five million records, three gigabytes, under two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiers import sized

EVENTS = sized(500_000, 5_000_000)
FILES = 5
LIMIT_BYTES = 2_000_000_000
PROJECT = Path(__file__).parents[4] / "examples" / "webshop"

_EVENT = (
    '{"messageId":"m-%09d","type":"track","event":"Product Viewed","userId":"u-%06d","anonymousId":"a-%06d",'
    '"originalTimestamp":"2026-11-%02dT%02d:%02d:%02d.%03dZ","sentAt":"2026-11-%02dT%02d:%02d:%02d.999Z",'
    '"receivedAt":"2026-11-%02dT23:59:59.999Z",'
    '"context":{"ip":"192.0.2.7","userAgent":"Mozilla/5.0 (X11; Linux x86_64)","locale":"de-DE",'
    '"library":{"name":"analytics.js","version":"4.1.0"},"page":{"url":"https://shop.example/p/%06d"},'
    '"consent":{"categoryPreferences":{"analytics":true,"advertising":false}}},'
    '"properties":{"sku":"SKU-%06d","price":%d.5,"currency":"EUR","category":"shoes"}}'
)


def write_events(folder: Path) -> None:
    """Distinct events over three days, in time order within a file, all valid."""
    per_file = EVENTS // FILES
    for number in range(FILES):
        with (folder / f"events-{number}.jsonl").open("w", encoding="ascii") as out:
            for start in range(0, per_file, 10_000):
                out.write(
                    "\n".join(_event(number * per_file + i, i * 86_400_000 * 3 // per_file) for i in range(start, start + 10_000))
                )
                out.write("\n")


def _event(i: int, ms: int) -> str:
    day, rest = divmod(ms, 86_400_000)
    hour, rest = divmod(rest, 3_600_000)
    minute, rest = divmod(rest, 60_000)
    second, ms = divmod(rest, 1_000)
    day += 1
    user, clock = i % 300_000, (day, hour, minute, second)
    return _EVENT % (i, user, user, *clock, ms, *clock, day, i % 100_000, i % 100_000, i % 90)


@pytest.mark.load
@pytest.mark.timeout(1_200)
def test_five_million_records_stay_under_two_gigabytes(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    write_events(drop)
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "ingest",
        "web",
        "--input",
        str(drop),
        "--lake",
        str(tmp_path / "lake"),
        "--json",
    ]
    process = subprocess.Popen([*command, "--project", str(PROJECT)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    manifest = json.load(process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert manifest["ledger"]["web"]["out"] == EVENTS
    assert manifest["datasets"]["customer_event"]["rows"] == EVENTS
    assert usage.ru_maxrss * 1024 < LIMIT_BYTES
    print(f"peak {usage.ru_maxrss / 1e6:.2f} GB, {manifest['timings']}")
