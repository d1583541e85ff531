"""Who takes part in ``python -m benchmarks.stream``, and what each of them must be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.stream.bed import Sent
from benchmarks.stream.figures import Visible
from benchmarks.stream.ours import OurJob, Written
from benchmarks.stream.peers import BytewaxPeer, Peer, QuixPeer, SparkPeer
from benchmarks.stream.row_job import RowJob
from devstack.stack import Stack

OURS, OURS_WITHOUT, ROW = "headrace", "headrace, immediate off", "row job"
PEERS: dict[str, type[Peer]] = {
    "PySpark Structured Streaming": SparkPeer,
    "bytewax": BytewaxPeer,
    "quixstreams": QuixPeer,
}
_SPARK, _BYTEWAX, _QUIX = PEERS
JOBS = {
    "ours": (OURS, OURS_WITHOUT),
    "immediate": (OURS,),
    "tables": (OURS_WITHOUT,),
    "row": (ROW,),
    "both": (OURS, OURS_WITHOUT, ROW),
    "pyspark": (_SPARK,),
    "bytewax": (_BYTEWAX,),
    "quixstreams": (_QUIX,),
    "all": (OURS, OURS_WITHOUT, ROW, *PEERS),
}
_OUR_RATES, _ROW_RATES = (5_000, 7_500, 10_000, 12_500, 15_000, 20_000), (500, 1_000, 1_500, 2_000, 3_000)
_PEER_RATES = (1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000, 20_000)
RATES = {OURS: _OUR_RATES, OURS_WITHOUT: _OUR_RATES, ROW: _ROW_RATES, **dict.fromkeys(PEERS, _PEER_RATES)}


class Contestant(Protocol):
    """Something that takes one topic to tables or files; see OurJob, RowJob and Peer."""

    @property
    def immediate(self) -> str | None:
        """The topic of its immediate branch."""

    @property
    def may_differ(self) -> bool:
        """Whether other output than was sent is shown as such; else it ends the command."""

    def start(self) -> None:
        """Begin to read the topic."""

    def processes(self) -> Mapping[int, str]:
        """Those that are its own, by id, with the names that their CPU time is counted under."""

    def failure(self) -> str | None:
        """Why it failed last; None where it did not."""

    def checkpoints(self) -> Mapping[int, int]:
        """Sizes of completed checkpoints by their id, of those that are still known; nothing where it makes none."""

    def stop(self) -> None:
        """End it."""

    def taken(self) -> int:
        """Messages that it will not read again."""

    def published(self) -> int:
        """Rows that readers see."""

    def settled(self, sent: Sent) -> bool:
        """Whether nothing more is to come."""

    def check(self, sent: Sent) -> None:
        """Raise RunFailedError where what is published is not what was sent."""

    def windows(self) -> list[Visible]:
        """When rows were first to be seen."""

    def written(self) -> Mapping[str, Written]:
        """By table."""


def contestant(name: str, stack: Stack, folder: Path, topic: str, rows: str | None) -> Contestant:
    """One over a topic. rows: where rows go at once, for the one that can."""
    if name in PEERS:
        return PEERS[name](stack, folder, topic)
    return RowJob(stack, folder, topic) if name == ROW else OurJob(stack, folder, topic, rows)
