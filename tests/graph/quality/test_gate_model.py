"""The gate of a table beside a model of it: what is published, held and hidden, after each of many random arrivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lake.location import AUDIT, Lake
from lake.tables.audit import begin_audit
from lake.tables.holds import holds_of
from lake.tables.iceberg import dropped_branch
from quality.acceptances import accept
from quality.verdicts import Partition
from tests.support.gated_table import HOUR_S, Pair, judging, pairs_at, passed
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.small_tables import NAME, make, put, row
from tests.support.tiers import thinned

HOURS = 6
HORIZON_S = 5_400
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _judge() -> Iterator[None]:
    with judging():
        yield


class Model:
    """What the gate has to say. known: every winner that came, by pair. public, dropped: of main, pairs with their content."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.public: dict[int, dict[Pair, str]] = {}
        self.hidden: dict[int, set[Pair]] = {}
        self.audit: set[Pair] = set()
        self.held: set[int] = set()
        self.accepted: set[tuple[int, frozenset[tuple[Pair, str]]]] = set()

    def winners(self) -> dict[Pair, str]:
        """The fold of what came."""
        found: dict[Pair, str] = {}
        for each in sorted(self.rows, key=lambda r: (r["_rank"], r["_fingerprint"], r["_row_hash"], r["_position"])):
            found.setdefault((each["event_id"], each["_window_time"] // 60_000_000), each["content"])
        return found

    def take(self, rows: Sequence[Row]) -> None:
        """Rows come, and the gate is passed."""
        self.rows += rows
        winners, visible = self.winners(), set[Pair]()
        self.audit, self.held = set(), set()
        for hour in range(HOURS):
            own = {pair: content for pair, content in winners.items() if pair[1] // 60 == hour}
            candidate = {pair: own[pair] for pair in own if not _follows(pair, visible | own.keys())}
            self.audit |= candidate.keys()
            content = frozenset(candidate.items())
            if candidate == self.public.get(hour, {}) or "bad" not in candidate.values() or (hour, content) in self.accepted:
                self.public[hour], self.hidden[hour] = candidate, own.keys() - candidate.keys()
            else:
                self.held.add(hour)
                known = self.public.get(hour, {}).keys() | self.hidden.get(hour, set())
                gone = {pair for pair in self.public.get(hour, {}) if _follows(pair, visible | known)}
                self.public[hour] = {pair: text for pair, text in self.public.get(hour, {}).items() if pair not in gone}
                self.hidden[hour] = self.hidden.get(hour, set()) | gone
            visible |= self.public[hour].keys() | self.hidden[hour]

    def accept(self, hour: int) -> None:
        """A person accepts what is held of an hour."""
        winners = self.winners()
        self.accepted.add((hour, frozenset((p, winners[p]) for p in self.audit if p[1] // 60 == hour)))


def _follows(pair: Pair, known: set[Pair]) -> bool:
    return any(key == pair[0] and pair[1] - HORIZON_S // 60 <= minute < pair[1] for key, minute in known)


def assert_as_modelled(lake: Lake, model: Model) -> None:
    """Main, its settled state, the audit branch, what both drop, and what is held."""
    public = {pair for pairs in model.public.values() for pair in pairs}
    assert pairs_at(lake, "main") == public
    assert pairs_at(lake, "settled") == public
    assert pairs_at(lake, AUDIT) == model.audit
    assert pairs_at(lake, dropped_branch(AUDIT)) == model.winners().keys() - model.audit
    assert pairs_at(lake, dropped_branch(None)) == {pair for pairs in model.hidden.values() for pair in pairs}
    held = holds_of(lake.catalog().load_table(NAME))
    assert {low // 3_600_000_000 for low, _ in held} == model.held
    rows = scan(lake, NAME)
    assert claimed(lake, NAME) == (len(rows), content_hash(rows))
    assert len(rows) == len(public)


def some(rng: Random, count: int, start: int) -> list[Row]:
    """Rows of few ids over some hours: many come again, some are bad, and some take the place of bad ones."""
    return [
        row(
            f"e{rng.randrange(12)}", rng.randrange(HOURS * 30) * 120, rank=rng.randrange(3),
            content="bad" if rng.random() < 0.12 else rng.choice("xyz"), position=start + number,
        )
        for number in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", thinned(range(40), 40))
def test_what_is_published_held_and_hidden_is_what_the_model_says(tmp_path: Path, seed: int) -> None:
    rng, model = Random(seed), Model()
    lake = make(tmp_path / "lake", horizon_s=HORIZON_S)
    begin_audit(lake, NAME, HOUR_S, "begin")
    for number in range(6):
        rows = some(rng, 12, number * 100)
        put(lake, rows, rng.choice((900, HOUR_S)))
        if model.held and rng.random() < 0.5:
            hour = rng.choice(sorted(model.held))
            (hold,) = [h for h in holds_of(lake.catalog().load_table(NAME)).values() if h.from_us == hour * 3_600_000_000]
            accept(lake, Partition("thing", *hold.span), hold.content, hold.rules, by="Ada", reason="as it was")
            model.accept(hour)
        passed(lake)
        model.take(rows)
        assert_as_modelled(lake, model)
        snapshots = len(lake.catalog().load_table(NAME).snapshots())
        report = passed(lake)
        assert not report.published
        assert len(lake.catalog().load_table(NAME).snapshots()) == snapshots, "a pass with nothing to do commits nothing"
