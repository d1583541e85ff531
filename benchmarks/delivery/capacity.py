"""``python -m benchmarks.delivery.capacity``: requests that were made beforehand, as fast as the endpoint takes them.

What no client can beat on this machine: it only writes bytes and waits for answers. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.ingest.measure import RunFailedError
from devstack.cdp.component import WRITE_KEY
from transforms.deliver.http.dialects import Segment

_LEVEL = 2  # of gzip, as ours
_CONNECTIONS = 2
_TIMEOUT_S = 60.0


def bodies(events: Sequence[bytes]) -> Iterator[bytes]:
    """Compressed requests with these events, each as large as the API takes them."""
    limits = Segment.limits
    batch: list[bytes] = []
    size = 0
    for event in events:
        if batch and not limits.fits(len(batch) + 1, size + len(event)):
            yield _body(batch)
            batch, size = [], 0
        batch.append(event)
        size += len(event)
    if batch:
        yield _body(batch)


def _body(batch: Sequence[bytes]) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(Segment.opening + b",".join(batch) + Segment.closing) + compressor.flush()


def post_all(url: str, requests: Sequence[bytes]) -> None:
    """Send them over one connection.

    Raises:
        RunFailedError: one was not answered with 200.
    """
    token = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json", "Content-Encoding": "gzip"}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=_TIMEOUT_S)
    for body in requests:
        connection.request("POST", "/v1/batch", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RunFailedError(f"the endpoint answered {answer.status}")
    connection.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery.capacity")
    parser.add_argument("--url", required=True)
    parser.add_argument("--events", type=Path, required=True)
    options = parser.parse_args()
    requests = list(bodies(options.events.read_bytes().splitlines()))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        list(pool.map(lambda part: post_all(options.url, part), [requests[i::_CONNECTIONS] for i in range(_CONNECTIONS)]))
    print(json.dumps({"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - began_cpu_s}))


if __name__ == "__main__":
    main()
