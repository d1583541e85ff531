"""A shop with rejected records that a recipe mends, and what its readers, explainers and accountants find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lake.ledger.ledger import LedgerEntry
from lake.tables.letter_history import HISTORY
from operations.replay.promote import promote, rollback
from operations.reprocess.options import ReprocessOptions, ReprocessReport
from operations.reprocess.recipes import tried_recipe
from operations.reprocess.run import reprocess
from tests.support.kills import put_back, save
from tests.support.lake_state import claimed, content_hash, scan
from tests.support.repairs import open_letters, write_recipe
from tests.support.shop import TABLE, Shop, event

RECIPE, OTHER = "page", "screen"
BAD = [event(n, 8 + n % 2, type="nothing") for n in range(20, 26)]
LINES = [event(n, 8 + n % 2) for n in range(10)] + BAD + [event(7, 9, type="no such type")]
MENDED = [*LINES[:10], *(event(n, 8 + n % 2, type="page") for n in range(20, 26)), LINES[-1]]


@dataclass(frozen=True)
class State:
    """What is found in a lake. letters: codes of the open ones, with their attempts left out: a replay counts anew."""

    content_hash: str
    ledger: LedgerEntry
    letters: tuple[str, ...]


@dataclass
class MendedShop:
    """A shop with six records that the recipe mends and one that it does not."""

    folder: Path
    lines: list[str] = field(default_factory=lambda: LINES)

    def __post_init__(self) -> None:
        self.shop = Shop(self.folder)
        for name, kind in ((RECIPE, "page"), (OTHER, "screen")):
            steps = [{"map": {"path": "type", "values": {"nothing": kind}}}]
            write_recipe(self.shop.folder, name, steps=steps, examples=[{"in": {"type": "nothing"}, "out": {"type": kind}}])
        self.shop.ingest(self.lines, num_shards=1)

    def reprocess(self, recipe: str | None = RECIPE, at: Callable[[str], None] = lambda _: None) -> ReprocessReport:
        """Reprocess all letters. at: is told of every step."""
        project = self.shop.project
        options = ReprocessOptions(recipe=tried_recipe(project, recipe) if recipe else None, reason="a test")
        return reprocess(options, project, self.shop.lake(), lambda _: None, at)

    def step(self, name: str) -> None:
        """One of: reprocess, run, promote, rollback."""
        project, lake = self.shop.project, self.shop.lake()
        if name == "reprocess":
            self.reprocess()
        elif name == "run":
            assert self.shop.run("mend", 8, 10).exit_code == 0
        else:
            {"promote": promote, "rollback": rollback}[name]("mend", project, lake)

    def found(self) -> State:
        """The state; the hash is that of the rows, and the one that the table claims."""
        lake = self.shop.lake()
        rows = scan(lake, TABLE)
        assert claimed(lake, TABLE) == (len(rows), content_hash(rows))
        return State(content_hash(rows), self.shop.ledger(), tuple(code for code, _ in open_letters(lake)))

    def outcomes(self) -> list[tuple[int, int, str]]:
        """Position, attempt and outcome of every line of the history."""
        rows = self.shop.lake().load(HISTORY).scan(selected_fields=("position", "attempt", "outcome")).to_arrow().to_pylist()
        return sorted((row["position"], row["attempt"], row["outcome"]) for row in rows)

    def save(self) -> None:
        """Keep the lake as it is."""
        save(self.shop.lake(), self.folder / "kept")

    def put_back(self) -> None:
        """The lake as it was kept."""
        put_back(self.shop.lake(), self.folder / "kept")


def repaired_state(folder: Path) -> State:
    """What a lake holds that was given the records as they should have been."""
    return MendedShop(folder, MENDED).found()
