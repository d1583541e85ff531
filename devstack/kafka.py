"""A Kafka broker that is its own controller (KRaft), small enough for a laptop, durable enough to be killed."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

from contracts.errors import ComponentDownError
from devstack.component import Component, Start
from devstack.layout import Layout, Settings

CLUSTER_ID = "headrace-local-stack00"  # any 22 characters of base64url; the same for ever, so that data and broker always fit
_HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
_FORMAT_TIMEOUT_S = 180
_PROBE_TIMEOUT_S = 2.0
# ApiVersions, version 0, correlation id 1, no client id: the request that every broker answers first of all.
_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)


def kafka(layout: Layout, settings: Settings, *, java: str, libs: Path) -> Component:
    """The broker. libs: folder with its jars."""
    port = settings.ports.kafka
    properties = layout.conf / "kafka.properties"
    base = [java, *_HEAP, *_logging(), "-cp", f"{libs}/*"]

    def prepare() -> Start:
        data = layout.data / "kafka"
        properties.write_text(_properties(data, port, settings.ports.kafka_controller), "utf-8")
        if not (data / "meta.properties").exists():
            _format(base, properties)
        return Start(command=[*base, "kafka.Kafka", str(properties)], start_id="kafka")

    return Component(
        name="kafka",
        ports={"kafka": port, "kafka_controller": settings.ports.kafka_controller},
        url=f"localhost:{port}",
        log=layout.logs / "kafka.log",
        prepare=prepare,
        ready=lambda _: answers(port),
    )


def _logging() -> tuple[str, ...]:
    options = {"showDateTime": "true", "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "defaultLogLevel": "info"}
    return tuple(f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in options.items())


def _properties(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://localhost:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
        "group.initial.rebalance.delay.ms": 0,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 3,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _format(base: list[str], properties: Path) -> None:
    command = [*base, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise ComponentDownError(f"kafka: its data folder cannot be formatted: {' '.join(last)}")


def answers(port: int) -> bool:
    """Whether a broker answers there; not only whether something listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), _PROBE_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
            answer = connection.recv(10, socket.MSG_WAITALL)  # size, correlation id, error code
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (1, 0)
