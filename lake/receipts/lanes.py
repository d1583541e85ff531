"""What receipts know a lane by."""

from __future__ import annotations

from typing import NamedTuple


class LaneId(NamedTuple):
    """A partition of a topic, or a share of a table.

    rows_from: the topic or table. version: the topic's id, since one of the same name that was made again is another; or the run
    that shared the table out. number: of the partition or share.
    """

    rows_from: str
    version: str
    number: int
