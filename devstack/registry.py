"""A schema registry: Apicurio, which speaks Confluent's REST API, with its schemas in a database file."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from devstack.component import Component, Start
from devstack.layout import Layout, Settings

CCOMPAT = "/apis/ccompat/v7"  # where it speaks Confluent's API
_HEAP = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC")
_PROBE_TIMEOUT_S = 2.0


def registry(layout: Layout, settings: Settings, *, java: str, folder: Path) -> Component:
    """The registry. folder: with its jars."""
    port = settings.ports.registry
    data = layout.data / "registry"

    def prepare() -> Start:
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
            "quarkus.http.access-log.enabled": "false",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{data / 'registry'};WRITE_DELAY=0",  # else what was said is written later
        }
        (jar,) = folder.glob("*-runner.jar")
        command = [java, *_HEAP, *(f"-D{key}={value}" for key, value in options.items()), "-jar", str(jar)]
        return Start(command=command, start_id="registry")

    return Component(
        name="registry",
        ports={"registry": port},
        url=f"http://localhost:{port}{CCOMPAT}",
        log=layout.logs / "registry.log",
        prepare=prepare,
        ready=lambda _: answers(port),
    )


def answers(port: int) -> bool:
    """Whether a registry answers there; not only whether something listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{CCOMPAT}/schemas/types", timeout=_PROBE_TIMEOUT_S) as answer:
            return "AVRO" in json.load(answer)
    except (OSError, ValueError):
        return False
