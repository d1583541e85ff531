"""How a Kafka cluster is reached, and what it is asked before and while it is read."""

from __future__ import annotations

import difflib
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from contracts.errors import ComponentDownError, ConfigurationError

T = TypeVar("T")
ANSWER_S = 30.0
_CALL_S = 5.0
_OURS = ("bootstrap.servers", "group.id", "enable.auto.commit", "auto.offset.reset", "isolation.level", "enable.partition.eof")


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
            message = str(error.args[0].str()) if error.args else ""
            name = re.search(r'property[: ]+"?([\w.]+)', message)
            what = f"{name[1]} is not accepted" if name else "a setting is not accepted"
            raise ConfigurationError(f"client config {self.config_file}: {what} by the Kafka client") from None


class Partitions(NamedTuple):
    """The partitions of one topic. topic_id: Kafka's id of it. number: how many there are."""

    topic_id: str
    number: int


class KafkaCluster:
    """Questions to a cluster, each with a deadline."""

    def __init__(self, connection: KafkaConnection, *, deadline_s: float = ANSWER_S) -> None:
        self._connection, self._deadline_s = connection, deadline_s
        self._admin = AdminClient(connection.settings() | {"logger": silent_logger()})

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
            ConfigurationError: there is none; names the nearest.
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

        def ask() -> Mapping[Any, Any]:
            futures = self._admin.list_offsets(wanted, isolation_level=committed, request_timeout=_CALL_S)
            return _answered(futures, must_succeed=True)

        futures = self._retried(ask)
        found = {(tp.topic, tp.partition): future.result().offset for tp, future in futures.items()}
        if missing := [key for key, offset in found.items() if offset < 0]:  # no record at or after that time
            found |= self.offsets(missing, "latest")
        return found

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
                raise ComponentDownError(f"topic {name}: cannot be made: {_described(error.args[0])}") from None

    def _retried(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, at most until the deadline."""
        deadline = time.monotonic() + self._deadline_s
        pause = 0.1
        while True:
            try:
                return ask()
            except KafkaException as error:
                failure: KafkaError = error.args[0]
                if failure.code() in _FINAL or time.monotonic() + pause > deadline:
                    raise ComponentDownError(
                        f"Kafka {self._connection.bootstrap}: {_described(failure)}. Is it running, and the address right?"
                    ) from None
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


_OFFSETS: dict[str, Callable[[], OffsetSpec]] = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest}


class TopicMissingError(ComponentDownError):
    """A topic that is to be read does not exist."""


_FINAL = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._SSL,
)


def _described(error: KafkaError) -> str:
    """What failed, in words; never the client's text, which may quote its settings."""
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return "it refused the user or password of --client-config"
    if error.code() == KafkaError._SSL:
        return "no TLS connection; check the certificates that --client-config names"
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return "the user of --client-config may not do this"
    return f"no answer ({error.name()})"


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
