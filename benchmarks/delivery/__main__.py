"""``python -m benchmarks.delivery``: see ../README.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.delivery.bench import Bed, run_contest
from benchmarks.delivery.endpoints import ENDPOINTS
from benchmarks.delivery.report import document_of, lines_of
from benchmarks.delivery.sample import make_sample
from benchmarks.delivery.topic import topic_of
from benchmarks.ingest.measure import RunFailedError
from benchmarks.stream.bed import RunFailedError as ChildFailedError
from contracts.errors import HeadraceError
from devstack.cdp.component import check_installed

OUTPUT = Path(__file__).parents[2] / ".cache/bench/delivery.json"


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1: a contestant failed, or what arrived is not what was sent; 2 and 3 as of headrace."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.delivery",
        description="Delivery and the client libraries of the destinations, to the same endpoint: arrivals compared, then times.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=int, default=100_000, help="about so many events")
    parser.add_argument("--seed", type=int, default=7, help="of the sample")
    parser.add_argument("--rounds", type=int, default=3, help="figures are medians over these")
    parser.add_argument("--topic", action="store_true", help="also from a topic, of a Kafka broker of its own (JDK 17, Maven)")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help="where the figures go")
    options = parser.parse_args(arguments)
    if options.events < 1 or options.rounds < 1:
        parser.error("--events and --rounds are at least 1")
    try:
        check_installed()
        with TemporaryDirectory(prefix="headrace-bench-") as folder, contextlib.ExitStack() as stack:
            _say(f"sample: {options.events:,} events")
            sample = make_sample(options.events, options.seed, Path(folder))
            topic = stack.enter_context(topic_of(sample, Path(folder) / "stack", _say)) if options.topic else None
            bed = Bed(sample, topic)
            contests = [run_contest(bed, endpoint, options.rounds, _say) for endpoint in ENDPOINTS]
    except (RunFailedError, ChildFailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m benchmarks.delivery", *_without_paths(given)])
    document = document_of(command, contests, sample.size_bytes, options.rounds)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(*lines_of(document), sep="\n")
    return 0


def _without_paths(arguments: list[str]) -> list[str]:
    """The command as others would give it."""
    kept = [a for i, a in enumerate(arguments) if "--output" not in (a, arguments[i - 1] if i else "")]
    return [argument for argument in kept if not argument.startswith("--output=")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
