"""How many readers a job has."""

from __future__ import annotations

from runners.flink.key_groups import salts_for
from runners.flink.submit import FlinkJob
from transforms.readers.restriction import reader_name


def salts_of(job: FlinkJob | None, most: int) -> tuple[int, ...]:
    """A salt for each reader, see ``salts_for``: as many readers as there are slots, and at most so many.

    job: on a cluster; None on this machine.
    """
    parallelism = job.parallelism if job else 1
    readers = min(parallelism, most)
    return salts_for(lambda number, salt: reader_name(number, readers, salt), readers, parallelism)
