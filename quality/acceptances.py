"""Verdicts that a person has overruled: files of the lake, put there once and never changed.

An acceptance is of what was judged: of these rows of a partition, and of the rules that they broke. What comes later for the same
partition, or breaks another rule, is judged as if nobody had said anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import xxhash

from contracts.text import json_text
from contracts.units import utc_text
from lake.acts import note_act
from lake.location import Lake
from quality.verdicts import Partition

_FOLDER = "_quality/accepted"


@dataclass(frozen=True)
class Acceptance:
    """What a person overruled.

    partition, content: of what. rules: that these rows broke. by, reason: who, and why. at: when. new_normal: what came is to be
    expected from then on, so baselines learn from it.
    """

    partition: Partition
    content: str
    rules: tuple[str, ...]
    by: str
    reason: str
    at: str
    new_normal: bool = False

    def covers(self, content: str, rules: Iterable[str]) -> bool:
        """Whether it is about these rows, and these rules."""
        return self.content == content and set(rules) <= set(self.rules)


def accept(
    lake: Lake, partition: Partition, content: str, rules: Sequence[str], *, by: str, reason: str, new_normal: bool = False
) -> tuple[Acceptance, bool]:
    """Overrule the verdict on a partition. The act goes on record before that.

    Args:
        lake: where.
        partition: which.
        content: what was judged.
        rules: that it failed.
        by: who, by name.
        reason: why.
        new_normal: see ``Acceptance``.

    Returns:
        What holds, and whether it is this one: where somebody said as much before, theirs stays, and no act is recorded. A new
        normal says more than an acceptance without it.

    Raises:
        ConfigurationError: name or reason are blank or too long.
    """
    digest = xxhash.xxh3_64_hexdigest("\0".join([str(new_normal), *sorted(rules)]).encode())
    where = lake.at_key(f"{_folder(partition.dataset)}/{partition.from_us}-{partition.to_us}-{content}-{digest}.json")
    said = (one for one in acceptances(lake, partition.dataset).get(partition, ()) if one.covers(content, rules))
    if before := next((one for one in said if one.new_normal or not new_normal), None):
        return before, False  # nothing is done, so there is no act
    what = {
        "dataset": partition.dataset, "from_us": partition.from_us, "to_us": partition.to_us, "content": content,
        "rules": sorted(rules), "new_normal": new_normal or None,
    }  # fmt: skip
    act = note_act(lake, "quality accept", what, by=by, reason=reason)
    at = utc_text(datetime.now(UTC), "milliseconds")
    made = Acceptance(partition, content, tuple(sorted(rules)), act.by or by, act.reason or reason, at, new_normal)
    if lake.storage.put_if_absent(where, (json_text(asdict(made)) + "\n").encode()):
        return made, True
    return _read(lake, where), False


def acceptances(lake: Lake, dataset: str) -> dict[Partition, list[Acceptance]]:
    """What was accepted of a dataset, by partition; of each the oldest first."""
    found: dict[Partition, list[Acceptance]] = {}
    for acceptance in sorted(_all(lake, dataset), key=lambda one: (one.partition, one.at)):
        found.setdefault(acceptance.partition, []).append(acceptance)
    return found


def _all(lake: Lake, dataset: str) -> Iterator[Acceptance]:
    places = [place for place in lake.storage.names(lake.at_key(_folder(dataset))) if place.endswith(".json")]
    yield from (_read(lake, place) for place in places)


def _read(lake: Lake, where: str) -> Acceptance:
    document = json.loads(lake.storage.read(where))
    return Acceptance(**{**document, "partition": Partition(**document["partition"]), "rules": tuple(document["rules"])})


def _folder(dataset: str) -> str:
    return f"{_FOLDER}/{dataset}"
