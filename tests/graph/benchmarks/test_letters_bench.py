"""The bench of dead letters: small in each run; a million of them, each command in two seconds, in ``make test-long``."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality import letters
from tests.support.tiers import sized

LIMIT_S = 2.0


@pytest.mark.long
@pytest.mark.load
def test_commands_answer_over_many_letters(tmp_path: Path) -> None:
    count = sized(20_000, 1_000_000)
    dead_letter_id = letters.make_lake(tmp_path, count, days=sized(3, letters.DAYS))
    found = [
        letters.timed(tmp_path, name, arguments, rounds=sized(1, 3)) for name, arguments in letters.commands(dead_letter_id).items()
    ]
    assert len(found) == len(letters.commands(""))
    if count == 1_000_000:
        assert {one.command: one.all for one in found if one.seconds > LIMIT_S} == {}
        assert max(one.peak_mib for one in found) < 1_000
