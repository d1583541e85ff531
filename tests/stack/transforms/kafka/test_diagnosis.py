"""A client that does not fit a listener, or a broker with a wrong name: each has its sentence, on a real broker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contracts.errors import ComponentDownError
from devstack import kafka as broker
from devstack import pieces, tools
from devstack.layout import Layout
from tests.support.stack import free_ports, require_tools, wait_for
from transforms.kafka.connection import KafkaCluster, KafkaConnection

SECRET = "hunter2-in-the-clear"
PLAIN, SASL, TLS, SASL_TLS, AWAY, CONTROLLER, NOBODY = range(7)
LOGIN = f"sasl.mechanism=PLAIN\nsasl.username=me\nsasl.password={SECRET}\n"
CA = "ssl.ca.location={folder}/ca.pem\n"
_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def certificate(folder: Path) -> None:
    """ca.pem and store.pem of a broker on loopback."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).add_extension(names, False)
    signed = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (folder / "ca.pem").write_bytes(signed)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "store.pem").write_bytes(private + signed)


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[int]]]:
    """One broker with a listener of each kind: a folder with its certificate, and their ports."""
    require_tools()
    folder, downloads = tmp_path_factory.mktemp("kafka"), Layout.default().downloads
    pieces.fetch(["kafka"], downloads, lambda _: None)
    first = free_ports().kafka + 10
    ports = list(range(first, first + 7))
    kinds = {"PLAIN": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "TLS": "SSL", "SASLTLS": "SASL_SSL", "AWAY": "PLAINTEXT"}
    named = list(zip((*kinds, "CONTROLLER"), ports, strict=False))
    login = f'{_MODULE} required user_me="{SECRET}";'
    certificate(folder)
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{ports[CONTROLLER]}",
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in named),
        "advertised.listeners": ",".join(f"{n}://localhost:{ports[NOBODY] if n == 'AWAY' else p}" for n, p in named[:CONTROLLER]),
        "listener.security.protocol.map": ",".join(
            f"{name}:{kind}" for name, kind in (kinds | {"CONTROLLER": "PLAINTEXT"}).items()
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "sasl.enabled.mechanisms": "PLAIN",
        **{f"listener.name.{name}.plain.sasl.jaas.config": login for name in ("sasl", "sasltls")},
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "store.pem",
        "log.dirs": folder / "data",
        "offsets.topic.replication.factor": 1,
        "connection.failed.authentication.delay.ms": 10,
    }
    properties = folder / "kafka.properties"
    properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    base = [tools.java(), "-Xmx400m", "-cp", f"{pieces.kafka_libs(downloads)}/*"]
    subprocess.run(
        [*base, "kafka.tools.StorageTool", "format", "-t", broker.CLUSTER_ID, "-c", str(properties)],
        check=True,
        capture_output=True,
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*base, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    try:
        wait_for(lambda: broker.answers(ports[PLAIN]), "the broker", 60)
        yield folder, ports
    finally:
        process.terminate()
        process.wait(60)


def protocol(name: str) -> str:
    return f"security.protocol={name}\n"


CASES = [
    (PLAIN, protocol("SASL_PLAINTEXT") + LOGIN, "it takes no login; security.protocol of --client-config must be PLAINTEXT or SSL"),
    (
        PLAIN,
        protocol("SSL") + CA,
        "{address} speaks no TLS; security.protocol of --client-config must be PLAINTEXT or SASL_PLAINTEXT",
    ),
    (
        PLAIN,
        protocol("SASL_SSL") + CA + LOGIN,
        "{address} speaks no TLS; security.protocol of --client-config must be PLAINTEXT or",
    ),
    (SASL, "", "{address} wants a login; --client-config must have security.protocol=SASL_PLAINTEXT and sasl.mechanism"),
    (SASL, protocol("SASL_PLAINTEXT") + LOGIN.replace("=me", "=you"), "it refused the user or password of --client-config"),
    (
        SASL,
        protocol("SASL_PLAINTEXT") + LOGIN.replace("PLAIN", "SCRAM-SHA-256"),
        "it does not take the sasl.mechanism of --client-",
    ),
    (TLS, "", "{address} speaks TLS; security.protocol of --client-config must be SSL or SASL_SSL"),
    (TLS, protocol("SASL_PLAINTEXT") + LOGIN, "{address} speaks TLS; security.protocol of --client-config must be SSL or SASL_SSL"),
    (
        TLS,
        protocol("SSL"),
        "the certificate of {address} cannot be verified: ssl.ca.location of --client-config must name its CA's",
    ),
    (TLS, protocol("SASL_SSL") + CA + LOGIN, "it takes no login; security.protocol of --client-config must be PLAINTEXT or SSL"),
    (SASL_TLS, protocol("SSL") + CA, "{address} wants a login; --client-config must have security.protocol=SASL_SSL"),
    (NOBODY, "", "no answer (nobody answers at {address}). Is it running, and the address right?"),
]


@pytest.mark.parametrize(("listener", "config", "told"), CASES)
def test_what_does_not_fit_a_listener_is_told(
    listener: int, config: str, told: str, listeners: tuple[Path, list[int]], tmp_path: Path
) -> None:
    folder, ports = listeners
    address = f"127.0.0.1:{ports[listener]}"
    file = tmp_path / "client.properties"
    file.write_text(config.format(folder=folder))
    with pytest.raises(ComponentDownError) as caught:
        KafkaCluster(KafkaConnection(address, str(file)), deadline_s=5).topics()
    assert str(caught.value).startswith(f"Kafka {address}: " + told.format(address=address))
    assert SECRET not in str(caught.value)


def test_what_fits_a_listener_is_answered(listeners: tuple[Path, list[int]], tmp_path: Path) -> None:
    folder, ports = listeners
    file = tmp_path / "client.properties"
    for listener, config in (
        (PLAIN, ""),
        (SASL, protocol("SASL_PLAINTEXT") + LOGIN),
        (TLS, protocol("SSL") + CA),
        (SASL_TLS, protocol("SASL_SSL") + CA + LOGIN),
    ):
        file.write_text(config.format(folder=folder))
        assert KafkaCluster(KafkaConnection(f"127.0.0.1:{ports[listener]}", str(file))).topics() is not None


def test_an_advertised_address_that_nobody_answers_at_is_told(listeners: tuple[Path, list[int]]) -> None:
    _, ports = listeners
    there = KafkaCluster(KafkaConnection(f"127.0.0.1:{ports[PLAIN]}"))
    there.ensure_topic("t", 1)
    there.offsets([("t", 0)], "latest")  # its partition has a leader
    away = KafkaCluster(KafkaConnection(f"127.0.0.1:{ports[AWAY]}"), deadline_s=3)
    with pytest.raises(ComponentDownError) as caught:
        away.offsets([("t", 0)], "latest")
    told = f"it answers, but names its brokers as localhost:{ports[NOBODY]} (advertised.listeners), where nobody answers from here"
    assert str(caught.value).startswith(f"Kafka 127.0.0.1:{ports[AWAY]}: {told}")
