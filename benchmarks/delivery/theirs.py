"""``python -m benchmarks.delivery.theirs``: the client library of a destination, fed with dictionaries that are ready.

Its time goes from the first event that it is given to the return of its ``flush``. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any

from benchmarks.delivery.sample import read_events
from devstack.cdp.component import WRITE_KEY

BATCH_EVENTS = 2_500
_INTERVAL_S = 0.1  # that a batch waits for more: less than the default of 0.5, so that the last one does not count
_OWN_NAMES = {
    "userId": "user_id", "anonymousId": "anonymous_id", "previousId": "previous_id", "groupId": "group_id",
    "messageId": "message_id", "event": "event", "name": "name", "properties": "properties", "traits": "traits",
    "context": "context", "integrations": "integrations",
}  # fmt: skip
Call = tuple[str, dict[str, Any]]


def client_of(name: str, url: str, threads: int, events: int) -> Any:
    """A client of Segment or RudderStack with the limits of the API, gzip, and room for all events in its queue."""
    options = {
        "gzip": True, "thread": threads, "upload_size": BATCH_EVENTS, "upload_interval": _INTERVAL_S, "max_queue_size": events,
    }  # fmt: skip
    if name == "rudderstack":
        from rudderstack.analytics.client import Client as RudderClient  # type: ignore[import-untyped] # noqa: PLC0415

        return RudderClient(WRITE_KEY, host=f"{url}/rudderstack", **options)
    from segment.analytics.client import Client  # type: ignore[import-untyped] # noqa: PLC0415 - one of the two, as a user would

    return Client(WRITE_KEY, host=url, **options)


def calls_of(client: Any, events: Sequence[Mapping[str, Any]]) -> list[Call]:
    """Each event as the client's method and its arguments, as far as the method takes them (``alias``: no anonymous id)."""
    taken = {name: signature(getattr(client, name)).parameters for name in {event["type"] for event in events}}
    found = []
    for event in events:
        kind = event["type"]
        arguments = {own: event[name] for name, own in _OWN_NAMES.items() if name in event and own in taken[kind]}
        arguments["timestamp"] = datetime.fromisoformat(event["timestamp"])
        found.append((kind, arguments))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.theirs")
    parser.add_argument("client", choices=("segment", "rudderstack"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--events", type=Path, required=True)
    options = parser.parse_args()
    events = read_events(options.events)
    client = client_of(options.client, options.url, options.threads, len(events))
    calls = calls_of(client, events)
    methods: dict[str, Callable[..., tuple[bool, Any]]] = {name: getattr(client, name) for name, _ in calls}
    gc.freeze()  # the collector shall not visit events that wait here only because this is a benchmark
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for name, arguments in calls:
        taken, _ = methods[name](**arguments)
        if not taken:
            raise SystemExit("the client's queue was full")
    client.flush()
    figures = {"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - began_cpu_s}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
