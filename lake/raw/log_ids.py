"""Names of logs, and the positions of the records in them."""

from __future__ import annotations

from typing import NamedTuple

BATCH_BITS = 20  # records of a message that holds several: position = offset << BATCH_BITS | index in the message


class LogId(NamedTuple):
    """One partition of one topic. topic_id: Kafka's own; a topic of the same name that was made again has another."""

    topic: str
    topic_id: str
    partition: int

    def __str__(self) -> str:
        return f"kafka:{self.topic}:{self.topic_id}:{self.partition}"

    @classmethod
    def parse(cls, text: str) -> LogId:
        """The inverse of ``str``."""
        _, topic, topic_id, partition = text.split(":")
        return cls(topic, topic_id, int(partition))


def is_log(raw_file: str) -> bool:
    """Whether a row's ``_raw_file`` names a log; else it is the SHA-256 of a file."""
    return raw_file.startswith("kafka:")


def position_of(offset: int, index: int, batched: bool) -> int:
    """The position of a record: its message's offset, or offset and index where messages hold several (``records:``)."""
    return offset << BATCH_BITS | index if batched else offset


def offset_of(position: int, batched: bool) -> int:
    """The offset of the message that holds a position."""
    return position >> BATCH_BITS if batched else position
