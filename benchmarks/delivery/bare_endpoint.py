"""``python -m benchmarks.delivery.bare_endpoint``: an endpoint that only reads, inflates and counts, so that it is no bottleneck.

It keeps the bodies as they came; what was in them is looked at when ``GET /arrivals`` asks, after the run. Prints its address.
"""

from __future__ import annotations

import asyncio
import json
import signal
import zlib

_GZIP = 16 + zlib.MAX_WBITS
_HEAD_END = b"\r\n\r\n"
_READ_BYTES = 2 << 20


class BareEndpoint:
    """Speaks as much HTTP/1.1 as the clients need: requests with a Content-Length, on connections that stay open."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.events = 0

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            while True:
                head = (await reader.readuntil(_HEAD_END)).lower()
                size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
                body = await reader.readexactly(size)
                writer.write(self._answer(head, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get /arrivals"):
            content = "\n".join(f"{event_id}\t{user}" for event_id, user in self.arrivals()).encode()
        else:
            self.bodies.append(body)
            self.events += inflated(body).count(b'"messageId":')
            content = b"OK" if head.startswith(b"post /rudderstack") else b'{"success":true}'
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)

    def arrivals(self) -> list[tuple[str, str]]:
        """Id and user of every event, in the order of arrival."""
        events = (event for body in self.bodies for event in json.loads(inflated(body))["batch"])
        return [(event["messageId"], event.get("userId") or event["anonymousId"]) for event in events]


def inflated(body: bytes) -> bytes:
    """A body's JSON; what is not gzip is returned as it is."""
    return zlib.decompress(body, _GZIP) if body.startswith(b"\x1f\x8b") else body


async def serve() -> None:
    """Serve on a free port until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(BareEndpoint().connection, "127.0.0.1", 0, limit=_READ_BYTES)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
