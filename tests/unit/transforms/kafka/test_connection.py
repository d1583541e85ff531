"""Addresses and client settings: what is wrong is told, and never what a setting holds."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ComponentDownError, ConfigurationError
from pipelines.deliver.options import DeliverOptions
from pipelines.ingest.options import IngestOptions
from tests.support.stack import free_ports
from transforms.kafka.connection import KafkaAddress, KafkaCluster, KafkaConnection
from transforms.read.topics import connected

SECRET = "hunter2-in-the-clear"


@pytest.mark.parametrize(
    ("uri", "bootstrap", "topic"),
    [
        ("kafka://localhost:9092/web-events", "localhost:9092", "web-events"),
        ("kafka://a.example:9092,b-2:9093/t.x_1", "a.example:9092,b-2:9093", "t.x_1"),
        ("kafka://[::1]:9092/t", "[::1]:9092", "t"),
        ("kafka://h:1", "h:1", ""),
        ("kafka://h:1/", "h:1", ""),
    ],
)
def test_addresses(uri: str, bootstrap: str, topic: str) -> None:
    assert KafkaAddress.parse(uri) == (bootstrap, topic)


@pytest.mark.parametrize(
    "uri",
    ["kafka:", "kafka:/h:1/t", "kafka://h/t", "kafka://h:x/t", "kafka://h:1,/t", "kafka://h:1/a/b", "kafka://h:1/t?x=1",
     f"kafka://user:{SECRET}@h:1/t", "kafka://h:1/a topic"],
)  # fmt: skip
def test_what_is_no_address_is_told_without_being_repeated(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="expected kafka://HOST:PORT/TOPIC") as told:
        KafkaAddress.parse(uri)
    assert SECRET not in str(told.value)


def test_a_config_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text(f"# ours\n\n! theirs\nsasl.username = me\nsasl.password={SECRET}=x\n")
    found = KafkaConnection("h:1", str(file)).settings()
    assert (found["sasl.username"], found["sasl.password"], found["bootstrap.servers"]) == ("me", f"{SECRET}=x", "h:1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"sasl.password {SECRET}".encode(), "line 1: expected key=value"),
        (f"a=b\nbootstrap.servers={SECRET}:1".encode(), "line 2: bootstrap.servers is set by headrace"),
        (f"isolation.level={SECRET}".encode(), "line 1: isolation.level is set by headrace"),
        (f"sasl.passwort={SECRET}".encode(), "sasl.passwort is not accepted"),
        (f"security.protocol={SECRET}".encode(), "security.protocol is not accepted"),
        (f"request.timeout.ms={SECRET}".encode(), "is not accepted"),
        (b"security.protocol=sasl_plaintext\nsasl.mechanism=GSSAPI\nsasl.kerberos.keytab=" + SECRET.encode(), ""),
        (
            f"security.protocol=ssl\nssl.ca.location=/nowhere/{SECRET}".encode(),
            "line 2: ssl.ca.location names no file that can be read",
        ),
        (f"ssl.key.location={SECRET}".encode(), "line 1: ssl.key.location names no file that can be read"),
        (f"sasl.jaas.config=a password={SECRET};".encode(), "sasl.jaas.config is a setting of Java's client"),
        (f"ssl.truststore.location={SECRET}".encode(), "ssl.truststore.location is a setting of Java's client"),
        (b"sasl.password=\xff" + SECRET.encode(), "client config"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_config_file_is_told_without_values(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_bytes(content)
    try:
        KafkaConnection("h:1", str(file)).check()
    except ConfigurationError as error:
        assert told in str(error) and str(file) in str(error)
        assert SECRET not in str(error)
        assert SECRET not in repr(error.__cause__)
    else:
        assert not told, "it was accepted"


def test_a_config_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        KafkaConnection("h:1", str(tmp_path / "none")).settings()


def test_an_end_that_is_to_come_is_refused() -> None:
    soon, past = int(time.time() * 1_000) + 60_000, int(time.time() * 1_000) - 1
    for options in (
        IngestOptions(source="web", input=("kafka://h:1/t",)),
        DeliverOptions(destination="cdp", input="kafka://h:1/t"),
    ):
        with pytest.raises(ConfigurationError, match="--until is to come"):
            connected(replace(options, until=soon), "kafka://h:1/t")
        for end in (past, "now", None):
            assert connected(replace(options, until=end), "kafka://h:1/t")[1] == "t"


def test_a_broker_that_is_not_there_is_asked_until_a_deadline() -> None:
    address = f"localhost:{free_ports().kafka}"
    with pytest.raises(
        ComponentDownError, match=rf"Kafka {address}: no answer \(nobody answers at {address}\). Is it running"
    ) as told:
        KafkaCluster(KafkaConnection(address), deadline_s=0.2).topics()
    assert told.value.exit_code == 3
