"""Promoting and rolling back, killed at every moment, done twice at once, and with live jobs in between: readers see the one state
or the other, and the same command again gives exactly the state that an undisturbed one gives.

A prepared lake is put back in its place before each case, so that the paths in Iceberg's metadata stay true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import ConfigurationError
from lake.ledger.ledger import LedgerEntry
from lake.runs.replays import Step, replay_of, replays
from operations.replay.promote import promote, rollback
from pipelines.replay import run as run_module
from tests.support.kills import DEADLINE_S, PROCESSES, assert_killed, kill_at, put_back, reading, save
from tests.support.lake_state import claimed, content_hash, scan, table_rows
from tests.support.moments import commit_moments
from tests.support.replay_points import VERBS, run_told
from tests.support.shop import TABLE, WEB, Shop
from tests.support.tiers import thinned

LETTERS, LEDGER = "ops.dead_letter", "ops.ledger"
NAME = "mend"
HOURS = 30
MENDED = {
    **WEB,
    "columns": {**WEB["columns"], "event_type": ["kind", "type"], "user_id": ["altId", "userId"]},
    "filter": [{"path": "context.traffic", "in": ["preview"]}],
}
EARLIER, RECEIVED, AFTERWARDS = ("2026-11-04T00:00:00Z", "2026-11-04T01:00:00Z", "2026-11-04T02:00:00Z")


def _moments(begun: Step, ended: Step, conflicts: tuple[str, ...], letters: str, ledger: str) -> tuple[str, ...]:
    """conflicts: what happens before the rows. letters, ledger: which commit of theirs comes after them."""
    return (
        f"before the event {begun}", "recorded", *conflicts, *commit_moments(TABLE), "rows", *_SWEPT, "settled",
        *commit_moments(letters), "letters", *commit_moments(ledger), "ledger",
        "after file 1 of the changes", "changes", f"before the event {ended}",
    )  # fmt: skip


# The ranges were looked at for what is dropped for nothing now, the tags of what is settled moved on, and this state got its own.
_SWEPT = (*commit_moments(f"{TABLE}, 2"), *commit_moments(f"{TABLE}, 3"), *commit_moments(f"{TABLE}, 4"))
_BEFORE_ROWS = (*commit_moments(LETTERS), "letters kept", *commit_moments(f"{LETTERS}, 2"), *commit_moments(LEDGER))
MOMENTS = {
    "promote": _moments(Step.PROMOTING, Step.PROMOTED, _BEFORE_ROWS, f"{LETTERS}, 3", f"{LEDGER}, 2"),
    "rollback": _moments(Step.ROLLING_BACK, Step.ROLLED_BACK, (), LETTERS, LEDGER),
}
ENDED = {"promote": Step.PROMOTED, "rollback": Step.ROLLED_BACK}
CASES = [(verb, moment) for verb, moments in MOMENTS.items() for moment in moments]
BETWEEN = [(verb, moment) for verb, moment in CASES if not moment.startswith(("within", "after the commit"))]
COMMITS = [(verb, moment) for verb, moment in CASES if moment.startswith("before the commit")]


def _lines(hour: int) -> Iterator[dict[str, Any]]:
    """Of each hour: rows that stay, that change, that go, that come, and that become dead letters by the mended source."""
    yield {"messageId": f"{hour}-stays"}
    yield {"messageId": f"{hour}-stays"}
    yield {"messageId": f"{hour}-changes", "altId": f"u-{hour}"}
    yield {"messageId": f"{hour}-goes", "context": {"traffic": "preview"}}
    yield {"messageId": f"{hour}-comes", "type": "nothing", "kind": "page"}
    yield {"messageId": f"{hour}-breaks", "kind": "nothing"}


def _later(hour: int) -> Iterator[dict[str, Any]]:
    """What a live job publishes after the replay was run: new rows, a conflict that wins and one that loses."""
    if hour % 10 == 0:
        yield {"messageId": f"{hour}-later"}
        yield {"messageId": f"{hour}-stays", "properties": {"n": 2}, "receivedAt": EARLIER}
        yield {"messageId": f"{hour}-changes", "properties": {"n": 3}, "receivedAt": EARLIER}
    if hour % 10 == 5:
        yield {"messageId": f"{hour}-stays", "properties": {"n": 4}, "receivedAt": AFTERWARDS}
        yield {"messageId": f"{hour}-changes", "properties": {"n": 5}, "receivedAt": AFTERWARDS}


def _event(hour: int, fields: dict[str, Any]) -> str:
    time = f"2026-11-{2 + hour // 24:02d}T{hour % 24:02d}:10:00Z"
    known = {"type": "page", "anonymousId": "a", "originalTimestamp": time, "receivedAt": RECEIVED}
    return json.dumps({**known, **fields})


@dataclass(frozen=True)
class State:
    """What readers, explainers and accountants find."""

    rows: list[dict[str, Any]]
    letters: list[dict[str, Any]]
    ledger: LedgerEntry
    content_hash: str


class Mended(Shop):
    """A shop whose lake is put back, and what its readers find."""

    def replay(self, name: str, first: int = 0, last: int = HOURS) -> None:
        """Replay some hours."""
        assert self.run(name, first, last).exit_code == 0

    def found(self) -> State:
        """The live state; the hash is that of the rows, and the one that the table claims."""
        lake = self.lake()
        rows = scan(lake, TABLE)
        assert claimed(lake, TABLE) == (len(rows), content_hash(rows))
        ledger = self.ledger()
        assert ledger.balanced
        return State(table_rows(lake, TABLE), table_rows(lake, LETTERS), ledger, content_hash(rows))

    def changes(self) -> dict[str, list[dict[str, Any]]]:
        """Files of changes."""
        root = Path(self.lake().root) / "_replays"
        return {str(path.relative_to(root)): pq.read_table(path).to_pylist() for path in sorted(root.glob("*/*.parquet"))}

    def times(self, step: Step, name: str = NAME) -> int:
        """How often a step is on record."""
        return [event.step for event in replay_of(self.lake(), name).events].count(step)

    def content_hash(self) -> str:
        """Of the rows that readers get."""
        return content_hash(scan(self.lake(), TABLE))

    def save(self, name: str) -> None:
        """Copy the lake."""
        save(self.lake(), self.folder / name)

    def put_back(self, name: str) -> None:
        """Put a copy in the lake's place."""
        put_back(self.lake(), self.folder / name)


@dataclass(frozen=True)
class Prepared:
    """A lake before each verb, and the states before and after it as an undisturbed one makes them."""

    shop: Mended
    before: dict[str, State]
    after: dict[str, State]
    changes: dict[str, dict[str, list[dict[str, Any]]]]


FIRST = [_event(hour, fields) for hour in range(HOURS) for fields in _lines(hour)]
LATER = [_event(hour, fields) for hour in range(HOURS) for fields in _later(hour)]
MORE = [_event(hour, {"messageId": f"{hour}-more"}) for hour in range(0, HOURS, 7)]


def _fresh(folder: Path, source: dict[str, Any], *files: Sequence[str]) -> State:
    """What a new lake holds that never knew another source."""
    shop = Mended(folder, spec=source)
    for lines in files:
        shop.ingest(lines, num_shards=1)
    return shop.found()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    shop = Mended(tmp_path_factory.mktemp("shop"))
    shop.ingest(FIRST, num_shards=1)
    shop.write_spec(MENDED)
    shop.replay(NAME)
    shop.write_spec(WEB)
    shop.ingest(LATER, num_shards=1)
    shop.write_spec(MENDED)
    shop.save("before-promote")
    before = shop.found()
    promote(NAME, shop.project, shop.lake())
    shop.save("before-rollback")
    after = shop.found()
    changes = {"promote": shop.changes()}
    rollback(NAME, shop.project, shop.lake())
    again = shop.found()
    changes["rollback"] = shop.changes()
    return Prepared(shop, {"promote": before, "rollback": after}, {"promote": after, "rollback": again}, changes)


def test_undisturbed_they_give_what_fresh_lakes_hold(prepared: Prepared, tmp_path: Path) -> None:
    assert prepared.after["promote"] == _fresh(tmp_path / "mended", MENDED, FIRST, LATER)
    assert prepared.after["rollback"] == prepared.before["promote"] == _fresh(tmp_path / "former", WEB, FIRST, LATER)
    # Three changed rows had lost by then against what came later.
    kinds = [row["_change"] for file in prepared.changes["promote"].values() for row in file]
    assert {kind: kinds.count(kind) for kind in kinds} == {"added": HOURS, "changed": HOURS - 3, "removed": 2 * HOURS}


@pytest.mark.parametrize("verb", VERBS)
def test_every_moment_is_covered(verb: str, prepared: Prepared) -> None:
    prepared.shop.put_back(f"before-{verb}")
    told: list[str] = []
    run_told(verb, NAME, prepared.shop.project, prepared.shop.lake(), told.append)
    assert tuple(told) == MOMENTS[verb]


def _killed(shop: Mended, verb: str, moment: str) -> None:
    run_told(verb, NAME, shop.project, shop.lake(), kill_at(moment))


@pytest.mark.parametrize(("verb", "moment"), thinned(CASES, 3))
def test_killed_and_done_again_it_gives_what_an_undisturbed_one_gives(verb: str, moment: str, prepared: Prepared) -> None:
    shop, before, after = prepared.shop, prepared.before[verb], prepared.after[verb]
    shop.put_back(f"before-{verb}")
    assert_killed(_killed, shop, verb, moment)
    swapped = MOMENTS[verb].index(moment) >= MOMENTS[verb].index(f"after the commit of {TABLE}")
    assert shop.content_hash() == (after if swapped else before).content_hash
    assert shop.times(ENDED[verb]) == 0
    VERBS[verb](NAME, shop.project, shop.lake(), lambda _: None)
    assert shop.found() == after
    assert shop.times(ENDED[verb]) == 1
    assert shop.changes() == prepared.changes[verb]
    with pytest.raises(ConfigurationError, match=f"is {ENDED[verb]}"):
        VERBS[verb](NAME, shop.project, shop.lake(), lambda _: None)


def _copies(minute: int, **fields: Any) -> list[str]:
    """Events of three hours: the mended source accepts what it takes for no event of any kind, the former one its copies alone."""
    times = [f"2026-11-02T{hour:02d}:{minute}:00Z" for hour in range(3)]
    return [_event(hour, {"messageId": f"{hour}-comes", "originalTimestamp": time, **fields}) for hour, time in enumerate(times)]


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mended, State]:
    """A lake before a promotion that publishes what rows of a live job are copies of, and the state after it."""
    shop = Mended(tmp_path_factory.mktemp("dropping"))
    stays = _event(0, {"messageId": "stays"})
    files = [*_copies(10, type="nothing", kind="page"), stays], _copies(20, properties={"n": 2})
    shop.ingest(files[0], num_shards=1)
    shop.write_spec(MENDED)
    shop.replay(NAME, 0, 3)
    shop.write_spec(WEB)
    shop.ingest(files[1], num_shards=1)
    shop.write_spec(MENDED)
    shop.save("before")
    return shop, _fresh(tmp_path_factory.mktemp("fresh") / "shop", MENDED, *files)


_MOVE = f"{TABLE}, 3"  # behind the swap, and the note that the ranges were looked at; the fourth moves the tags
_DROPPING = tuple(m for what in (f"{TABLE}, 2", f"{LETTERS}, 2", _MOVE, f"{TABLE}, 4") for m in commit_moments(what))
_AT_ONCE = {f"after the commit of {LETTERS}, 2", f"within the commit of {_MOVE}", f"after the commit of {_MOVE}"}


@pytest.mark.parametrize("moment", [m if m in _AT_ONCE else pytest.param(m, marks=pytest.mark.long) for m in _DROPPING])
def test_killed_while_it_drops_copies_and_done_again_it_gives_what_a_fresh_lake_holds(
    moment: str, dropping: tuple[Mended, State]
) -> None:
    shop, after = dropping
    shop.put_back("before")
    assert_killed(_killed, shop, "promote", moment)
    promote(NAME, shop.project, shop.lake())
    assert shop.found() == after
    assert {letter["code"] for letter in after.letters} == {"conflicting_duplicate"} and len(after.rows) == 4


@pytest.mark.parametrize("moment", ["within the commit of validated.customer_event", "letters"])
@pytest.mark.parametrize("verb", VERBS)
def test_readers_see_one_state_or_the_other(verb: str, moment: str, prepared: Prepared) -> None:
    """All the while: before it is killed, after, and when it is done again."""
    shop, before, after = prepared.shop, prepared.before[verb], prepared.after[verb]
    shop.put_back(f"before-{verb}")
    with reading(shop.content_hash, {before.content_hash, after.content_hash}):
        assert_killed(_killed, shop, verb, moment)
        VERBS[verb](NAME, shop.project, shop.lake(), lambda _: None)
    assert shop.content_hash() == after.content_hash


@pytest.mark.long
@pytest.mark.parametrize(("verb", "moment"), BETWEEN)
def test_a_rival_that_does_the_same_in_between_changes_nothing(verb: str, moment: str, prepared: Prepared) -> None:
    """One is held at a moment, another does it from beginning to end, the first goes on."""
    shop = prepared.shop
    shop.put_back(f"before-{verb}")
    rivals = []

    def at(told: str) -> None:
        if told == moment and not rivals:
            rivals.append(VERBS[verb](NAME, shop.project, shop.lake(), lambda _: None))

    try:
        run_told(verb, NAME, shop.project, shop.lake(), at)
    except ConfigurationError as error:
        assert moment.startswith("before the event") and f"is {ENDED[verb]}" in str(error)
    assert rivals
    assert shop.found() == prepared.after[verb]
    assert shop.times(ENDED[verb]) == 1
    assert shop.changes() == prepared.changes[verb]


@pytest.mark.long
@pytest.mark.parametrize(("verb", "moment"), COMMITS)
def test_what_a_live_job_publishes_in_between_is_kept(verb: str, moment: str, prepared: Prepared, tmp_path: Path) -> None:
    shop = prepared.shop
    shop.put_back(f"before-{verb}")
    ingested: list[str] = []

    def at(told: str) -> None:
        if told == moment and not ingested:
            ingested.append(told)
            shop.ingest(MORE, num_shards=1)

    run_told(verb, NAME, shop.project, shop.lake(), at)
    assert ingested
    source = MENDED if verb == "promote" else WEB
    assert shop.found() == _fresh(tmp_path, source, FIRST, LATER, MORE)


def test_what_a_live_job_published_while_the_replay_read_is_what_the_replay_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the former source, after the replay's base and before it chose its raw: then the replay has judged it, and better."""
    shop = Mended(tmp_path / "shop")
    half = len(FIRST) // 2
    shop.ingest(FIRST[:half], num_shards=1)
    select = run_module.select_raw

    def ingest_and_select(*given: Any, **named: Any) -> Any:
        shop.write_spec(WEB)
        shop.ingest(FIRST[half:], num_shards=1)
        shop.write_spec(MENDED)
        return select(*given, **named)

    monkeypatch.setattr(run_module, "select_raw", ingest_and_select)
    shop.write_spec(MENDED)
    shop.replay(NAME)
    promote(NAME, shop.project, shop.lake())
    assert shop.found() == _fresh(tmp_path / "fresh", MENDED, FIRST[:half], FIRST[half:])


def _begin(shop: Mended, name: str, first: int, last: int, ready: Any, outcomes: Any) -> None:
    ready.wait(DEADLINE_S)
    try:
        shop.replay(name, first, last)
        outcomes.put((name, None))
    except ConfigurationError as error:
        outcomes.put((name, str(error)))


def test_of_two_overlapping_replays_that_begin_at_once_one_is_refused(prepared: Prepared) -> None:
    shop = prepared.shop
    shop.put_back("before-rollback")
    with PROCESSES.Manager() as manager:
        ready, outcomes = manager.Barrier(2), manager.Queue()
        spans = {"left": (0, 20), "right": (10, HOURS)}
        both = [PROCESSES.Process(target=_begin, args=(shop, n, *span, ready, outcomes)) for n, span in spans.items()]
        for process in both:
            process.start()
        told = dict(outcomes.get(timeout=DEADLINE_S) for _ in both)
        for process in both:
            process.join(DEADLINE_S)
    (winner,) = [name for name, error in told.items() if error is None]
    (loser,) = told.keys() - {winner}
    assert told[loser] == (
        f"replay {loser}: {winner} rebuilds some of the same windows of customer_event and is not done; "
        "promote it or discard it first"
    )
    assert replays(shop.lake()).keys() == {NAME, winner}
    assert replay_of(shop.lake(), winner).step is Step.FINISHED


def _promote_at_once(shop: Mended, ready: Any, outcomes: Any) -> None:
    ready.wait(DEADLINE_S)
    try:
        promote(NAME, shop.project, shop.lake())
        outcomes.put(None)
    except ConfigurationError as error:
        outcomes.put(str(error))


def test_two_that_promote_the_same_at_once(prepared: Prepared) -> None:
    shop, before, after = prepared.shop, prepared.before["promote"], prepared.after["promote"]
    shop.put_back("before-promote")
    with (
        PROCESSES.Manager() as manager,
        reading(shop.content_hash, {before.content_hash, after.content_hash}),
    ):
        ready, outcomes = manager.Barrier(2), manager.Queue()
        both = [PROCESSES.Process(target=_promote_at_once, args=(shop, ready, outcomes)) for _ in range(2)]
        for process in both:
            process.start()
        told = [outcomes.get(timeout=DEADLINE_S) for _ in both]
        for process in both:
            process.join(DEADLINE_S)
    assert None in told
    assert all(error is None or "only one that is finished can be promoted" in error for error in told)
    assert shop.found() == after
    assert shop.times(Step.PROMOTED) == shop.times(Step.PROMOTING) == 1
    assert shop.changes() == prepared.changes["promote"]
