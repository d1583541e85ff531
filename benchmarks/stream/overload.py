"""The streaming job under more than it takes, and then under what it takes: lag must grow and fall, memory must not.

    python -m benchmarks.stream.overload --rate 20000 --seconds 600 --then 5000

Messages are sent at RATE for SECONDS, and then at THEN until the lag is gone. Every few seconds the lag is noted (messages in the
topic that are not landed), with resident memory by process and the heap. It fails where anything restarts, where the lag is not
worked off before a deadline, or where what is published is not what was sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Consumer, TopicPartition

from benchmarks.stream.bed import PARTITIONS, SHARES, Child, RunFailedError, Sent, make_topic, private_stack
from benchmarks.stream.heap import HeapMeter
from benchmarks.stream.ours import OurJob
from benchmarks.stream.processes import CpuMeter
from benchmarks.stream.run import processes_of
from contracts.errors import HeadraceError
from devstack.stack import Stack
from runners.flink.rest import FlinkRest

_TOPIC = "web-events"
_LOOK_S = 5.0
_ALMOST_NONE_S = 5.0  # of the lower rate: this much lag is there while all goes well
_SETTLE_S = 600.0
_THEN_AT_LEAST_S = 30.0


@dataclass(frozen=True)
class Overload:
    """What happened. lag: (second, messages), about every half minute. other_share: of the cores, used by all else.

    resident_mib: the largest by process, in the first and in the last half of the time over load; where nothing grows they are
    alike.
    """

    rate: int
    seconds: float
    then: int
    messages: int
    lag_max: int
    worked_off_s: float
    restarts: int
    resident_mib: dict[str, tuple[int, int]]
    heap_used_mib: int
    heap_left_mib: int
    heap_max_mib: int
    idle_share: float
    other_share: float
    lag: list[tuple[int, int]]


class _Lag:
    """Messages in the topic that the job has not landed."""

    def __init__(self, bootstrap: str, job: OurJob) -> None:
        self._job = job
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "lag", "log_level": 3})

    def look(self) -> int:
        places = [TopicPartition(_TOPIC, number) for number in range(PARTITIONS)]
        taken = self._job.taken()  # first: what is sent between the two counts as lag
        return sum(self._consumer.get_watermark_offsets(place, timeout=30)[1] for place in places) - taken

    def close(self) -> None:
        self._consumer.close()


def overload(stack: Stack, folder: Path, rate: int, seconds: float, then: int, deadline_s: float) -> Overload:
    """See the module.

    Raises:
        RunFailedError: it did.
    """
    make_topic(stack.kafka_bootstrap, _TOPIC)
    job = OurJob(stack, folder, _TOPIC, None)
    job.start()
    lag, heap = _Lag(stack.kafka_bootstrap, job), HeapMeter(FlinkRest(stack.flink_rest))
    meter = CpuMeter(lambda: processes_of(stack, job))
    noted: list[tuple[float, int]] = []
    halves: list[dict[str, int]] = []
    began = time.monotonic()

    def look() -> int:
        noted.append((time.monotonic() - began, lag.look()))
        heap.look()
        meter.look()
        return noted[-1][1]

    with ExitStack() as cleanup:
        cleanup.callback(lag.close)
        first = cleanup.enter_context(_producer(stack, folder / "over.tsv", rate, seconds))
        while first.runs:
            look()
            if not halves and noted[-1][0] > seconds / 2:
                halves.append(dict(meter.use.resident_mib))
                meter.forget_memory()
            time.sleep(_LOOK_S)
        first.end()
        halves.append(dict(meter.use.resident_mib))
        _say(f"lag after {seconds:.0f} s at {rate:,}/s: {look():,}; going on at {then:,}/s")
        second, over = cleanup.enter_context(_producer(stack, folder / "then.tsv", then, None)), time.monotonic()
        while look() > then * _ALMOST_NONE_S or time.monotonic() - over < _THEN_AT_LEAST_S:
            if time.monotonic() - over > deadline_s:
                raise RunFailedError(f"{noted[-1][1]:,} messages of lag are left after {deadline_s:.0f} s at {then:,}/s")
            time.sleep(_LOOK_S)
        worked_off_s = time.monotonic() - over
        second.end(ask=True)
    sent, until = Sent.of(Sent.read(folder / "over.tsv"), Sent.read(folder / "then.tsv")), time.monotonic() + _SETTLE_S
    while not job.settled(sent):
        if time.monotonic() > until:
            raise RunFailedError(f"not all messages are accounted for {_SETTLE_S:.0f} s after the last was sent")
        time.sleep(_LOOK_S)
    restarts = job.restarts()
    job.stop()
    job.check(sent)
    if restarts:
        raise RunFailedError(f"the job restarted {restarts} times")
    names = sorted({*halves[0], *halves[-1]})
    return Overload(
        rate=rate, seconds=seconds, then=then, messages=len(sent.lines), lag_max=max(n for _, n in noted),
        worked_off_s=round(worked_off_s), restarts=restarts,
        resident_mib={name: (halves[0].get(name, 0), halves[-1].get(name, 0)) for name in names},
        heap_used_mib=heap.used_mib, heap_left_mib=heap.left_mib, heap_max_mib=heap.max_mib,
        idle_share=round(meter.use.idle_share, 3), other_share=round(meter.use.other_share, 3),
        lag=[(round(at_s), n) for at_s, n in noted[:: round(30 / _LOOK_S)]],
    )  # fmt: skip


def _producer(stack: Stack, ids: Path, rate: int, seconds: float | None) -> Child:
    limit = () if seconds is None else ("--seconds", str(seconds))
    arguments = ("--bootstrap", stack.kafka_bootstrap, "--topic", _TOPIC, "--rate", str(rate), "--ids", str(ids))
    return Child("benchmarks.stream.producer", *arguments, *limit, *SHARES)


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: it did not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream.overload", description="More than the job takes, then less.")
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second, too many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600.0, help="for so long (default: %(default)s)")
    parser.add_argument("--then", type=int, default=5_000, help="messages a second that it takes (default: %(default)s)")
    parser.add_argument("--deadline", type=float, default=1_800.0, help="seconds to work the lag off (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with TemporaryDirectory(prefix="headrace-bench-") as folder, private_stack(Path(folder) / "stack", _say) as stack:
            found = overload(stack, Path(folder), options.rate, options.seconds, options.then, options.deadline)
    except (RunFailedError, HeadraceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(found)))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
