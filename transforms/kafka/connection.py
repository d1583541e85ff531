"""How a Kafka cluster is reached, and what it is asked before and while it is read."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from contracts.errors import ComponentDownError, ConfigurationError, TopicMissingError
from transforms.kafka.diagnosis import nobody_at, unreachable, wrong_settings

T = TypeVar("T")
ANSWER_S = 30.0
_CALL_S = 5.0
_FIRST_PAUSE_S = 0.1
_OURS = ("bootstrap.servers", "group.id", "enable.auto.commit", "auto.offset.reset", "isolation.level", "enable.partition.eof")


_OF_JAVA = {
    "sasl.jaas.config": "sasl.username and sasl.password",
    **{f"ssl.truststore.{name}": "ssl.ca.location, as PEM" for name in ("location", "password", "type", "certificates")},
    **{f"ssl.keystore.{name}": "ssl.certificate.location and ssl.key.location, as PEM" for name in ("type", "key")},
}
_FILES = tuple(f"ssl.{name}.location" for name in ("ca", "certificate", "key", "keystore", "crl"))
_NAMES = ("sasl.username", "sasl.password", *_FILES)


class KafkaAddress(NamedTuple):
    """``kafka://HOST:PORT[,HOST:PORT]/TOPIC``. topic: empty where a pattern names the topics."""

    bootstrap: str
    topic: str

    @classmethod
    def parse(cls, uri: str) -> KafkaAddress:
        """Read the URI.

        Raises:
            ConfigurationError: it is none.
        """
        match = re.fullmatch(r"kafka://([^/@?#\s]+)(?:/([^/?#\s]*))?", uri)
        if not match or not all(re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}", part) for part in match[1].split(",")):
            raise ConfigurationError("input: expected kafka://HOST:PORT/TOPIC; user and password belong into --client-config")
        return cls(match[1], match[2] or "")


def is_kafka(uri: str) -> bool:
    """Whether an input names a topic."""
    return uri.startswith("kafka:")


@dataclass(frozen=True)
class KafkaConnection:
    """How to reach a cluster. Picklable, without secrets: the file is read where a client is made, so workers need it too.

    bootstrap: host:port, comma-separated. config_file: a properties file in librdkafka's terms (``sasl.password=…``), or None.
    """

    bootstrap: str
    config_file: str | None = None

    def settings(self) -> dict[str, Any]:
        """Settings for a client.

        Raises:
            ConfigurationError: the file cannot be read, or sets what is not its to set. Never tells values.
        """
        settings: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "log_level": 4}
        if self.config_file is None:
            return settings
        try:
            lines = Path(self.config_file).read_text("utf-8").splitlines()
        except OSError as error:
            raise ConfigurationError(f"client config {self.config_file}: {error.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"client config {self.config_file}: is not text in UTF-8") from None
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith(("#", "!")):
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise ConfigurationError(f"client config {self.config_file}, line {number}: expected key=value")
            if key.strip() in _OURS:
                raise ConfigurationError(f"client config {self.config_file}, line {number}: {key.strip()} is set by headrace")
            if key.strip() in _OF_JAVA:
                told = f"{key.strip()} is a setting of Java's client; here it is {_OF_JAVA[key.strip()]}"
                raise ConfigurationError(f"client config {self.config_file}, line {number}: {told}")
            if key.strip() in _FILES and value.strip() != "probe" and not os.access(value.strip(), os.R_OK):
                told = f"{key.strip()} names no file that can be read; workers need it too"
                raise ConfigurationError(f"client config {self.config_file}, line {number}: {told}")
            settings[key.strip()] = value.strip()
        return settings

    def check(self) -> None:
        """Make a client and throw it away: says what the client library does not accept.

        Raises:
            ConfigurationError: a setting is unknown or its value is not accepted.
        """
        try:
            AdminClient(self.settings() | {"logger": silent_logger()})
        except KafkaException as error:
            told = str(error.args[0].str()) if error.args else ""
            raise ConfigurationError(f"client config {self.config_file}: {_unaccepted(told)} by the Kafka client") from None


def _unaccepted(told: str) -> str:
    """Which setting the client library means, by its name."""
    if name := re.search(r'property[: ]+"?([\w.]+)', told):
        return f"{name[1]} is not accepted"
    if names := [name for name in _NAMES if name in told]:
        return f"{' and '.join(names)}: missing, or not accepted"
    return "sasl.mechanism is not known" if "SASL mechanism" in told else "a setting is not accepted"


class Partitions(NamedTuple):
    """The partitions of one topic. topic_id: Kafka's id of it. number: how many there are."""

    topic_id: str
    number: int


class KafkaCluster:
    """Questions to a cluster, each with a deadline."""

    def __init__(self, connection: KafkaConnection, *, deadline_s: float = ANSWER_S) -> None:
        self._connection, self._deadline_s = connection, deadline_s
        said: dict[int, KafkaError] = {}  # the first of each code
        # No reference to self: a circle would be freed by whichever thread collects it, the client's own among them.
        reported = {"logger": silent_logger(), "error_cb": lambda error: said.setdefault(error.code(), error)}
        self._admin, self._said = AdminClient(connection.settings() | reported), said

    def topics(self) -> list[str]:
        """Names of all topics but Kafka's own.

        Raises:
            ComponentDownError: no answer before the deadline.
        """
        metadata = self._retried(lambda: self._admin.list_topics(timeout=_CALL_S))
        return sorted(name for name in metadata.topics if not name.startswith("__"))

    def describe(self, names: list[str]) -> dict[str, Partitions]:
        """These topics, those of them that exist.

        Raises:
            ComponentDownError: no answer before the deadline.
        """
        if not names:
            return {}
        futures = self._retried(lambda: _answered(self._admin.describe_topics(TopicCollection(names), request_timeout=_CALL_S)))
        found: dict[str, Partitions] = {}
        for name, future in futures.items():
            if future.exception() is None:
                described = future.result()
                topic_id = str(described.topic_id).replace("/", "_").replace("+", "-")  # as Kafka prints it; it becomes a folder
                found[name] = Partitions(topic_id, len(described.partitions))
        return found

    def matching(self, topic: str, pattern: str | None) -> dict[str, Partitions]:
        """The topic, or those whose whole name matches the pattern.

        Raises:
            TopicMissingError: there is none; names the nearest.
            ComponentDownError: no answer before the deadline.
        """
        names = self.topics()
        wanted = [name for name in names if re.fullmatch(pattern, name)] if pattern else [topic]
        found = self.describe([name for name in wanted if name in names])
        if not found:
            near = difflib.get_close_matches(topic, names, n=3, cutoff=0.5) if not pattern else []
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(names[:10]) or 'no topic at all'}"
            what = f"topic {topic!r} does not exist" if not pattern else f"no topic matches {pattern!r}"
            raise TopicMissingError(f"{what} on {self._connection.bootstrap}; {hint}")
        return found

    def offsets(self, partitions: list[tuple[str, int]], at: str | int) -> dict[tuple[str, int], int]:
        """Offsets of partitions.

        Args:
            partitions: (topic, partition).
            at: ``earliest``, ``latest``, or a time in milliseconds: the first offset whose record time is not before it, else
                the end.

        Raises:
            ComponentDownError: no answer before the deadline.
        """
        spec = _OFFSETS[at]() if isinstance(at, str) else OffsetSpec.for_timestamp(at)
        wanted = {TopicPartition(topic, partition): spec for topic, partition in partitions}
        if not wanted:
            return {}
        committed = IsolationLevel.READ_COMMITTED  # else the end may lie behind a transaction that is still open

        def ask() -> dict[tuple[str, int], int]:
            futures = self._admin.list_offsets(wanted, isolation_level=committed, request_timeout=_CALL_S)
            answers = _answered(futures, must_succeed=True)
            found = {(tp.topic, tp.partition): future.result().offset for tp, future in answers.items()}
            if isinstance(at, str) and min(found.values()) < 0:  # what the client gives where no leader answered
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            return found

        found = self._retried(ask)
        if missing := [key for key, offset in found.items() if offset < 0]:  # no record at or after that time
            found |= self.offsets(missing, "latest")
        return found

    def settings_of(self, names: list[str]) -> dict[str, dict[str, str]]:
        """The settings of topics as they hold, wherever they are set: of the topic, the broker, or the default.

        Raises:
            ComponentDownError: no answer before the deadline, or the user may not ask.
        """
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._retried(
            lambda: _answered(self._admin.describe_configs(resources, request_timeout=_CALL_S), must_succeed=True)
        )
        return {
            resource.name: {entry.name: str(entry.value) for entry in future.result().values()}
            for resource, future in answers.items()
        }

    def ensure_topic(self, name: str, partitions: int) -> None:
        """Make a topic where there is none, with the cluster's own replication.

        Raises:
            ComponentDownError: no answer before the deadline, or it may not be made.
        """
        if self.describe([name]):
            return
        made = self._admin.create_topics([NewTopic(name, num_partitions=partitions)], request_timeout=_CALL_S)
        try:
            made[name].result(timeout=2 * _CALL_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                told = _FINAL.get(error.args[0].code()) or f"no answer ({error.args[0].name()})"
                raise ComponentDownError(f"topic {name}: cannot be made: {told}") from None

    def _retried(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, at most until the deadline."""
        deadline = time.monotonic() + self._deadline_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except KafkaException as error:
                failure: KafkaError = error.args[0]
                told = _FINAL.get(failure.code()) or self._wrong_settings(first=pause == _FIRST_PAUSE_S)
                if told is None and time.monotonic() + pause > deadline:
                    told = self._why_silent(failure)
                if told:
                    raise ComponentDownError(f"Kafka {self._connection.bootstrap}: {told}") from None
            time.sleep(pause)
            pause = min(2 * pause, 2.0)

    def _wrong_settings(self, *, first: bool) -> str | None:
        """What is wrong with the client's settings; looked for after the first failure, and when the client said something new."""
        known = len(self._said)
        self._admin.poll(0)
        if not first and len(self._said) == known:
            return None
        return wrong_settings(self._connection.bootstrap, self._connection.settings(), self._said.values())

    def _why_silent(self, failure: KafkaError) -> str:
        """Why there is no answer, when it was waited for long enough."""
        told = nobody_at(self._connection.bootstrap)
        if told is None:
            for _ in range(3):  # a client of its own each: one that has learned the other addresses may not go back to this one
                with contextlib.suppress(KafkaException):
                    named = KafkaCluster(self._connection)._admin.list_topics(timeout=_CALL_S).brokers.values()
                    if away := unreachable([(str(broker.host), broker.port) for broker in named]):
                        return away
        return f"no answer ({told or failure.name()}). Is it running, and the address right?"


_OFFSETS: dict[str, Callable[[], OffsetSpec]] = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest}


# What no second attempt changes, in words; never the client's text, which may quote its settings.
_FINAL = {
    KafkaError._AUTHENTICATION: "it refused the user or password of --client-config",
    KafkaError.SASL_AUTHENTICATION_FAILED: "it refused the user or password of --client-config",
    KafkaError._SSL: "no TLS connection; check the certificates that --client-config names",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user of --client-config may not do this",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the user of --client-config may not do this",
}


def _answered(futures: Mapping[Any, Any], *, must_succeed: bool = False) -> Mapping[Any, Any]:
    """Wait for all; raise what may be better a second later."""
    for future in futures.values():
        error = future.exception(timeout=2 * _CALL_S)
        if isinstance(error, KafkaException):
            code = error.args[0].code()
            if must_succeed or code not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID):
                raise error
        elif error is not None:
            raise error
    return futures


def silent_logger() -> logging.Logger:
    """A logger that drops what the client library says: it repeats each second what is told once, in a sentence, by us."""
    logger = logging.getLogger("headrace.librdkafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def open_consumer(connection: KafkaConnection, group: str) -> Consumer:
    """A consumer for whole polls of assigned partitions: never moves an offset by itself, never skips what is gone."""
    return Consumer(
        {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # the default, latest, would skip records silently
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "group.id": group,
            "queued.max.messages.kbytes": 32_768,  # of the consumer as a whole
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 30_000,
            "reconnect.backoff.max.ms": 2_000,
            **connection.settings(),
            "logger": silent_logger(),
        }
    )
