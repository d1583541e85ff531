"""What a run works by: versions, contracts, specs and options. Noted when it begins, since a stream has no end to note it at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from contracts.version import VERSION

_LIBRARIES = ("apache-beam", "confluent-kafka", "fastavro", "httpx", "msgspec", "pyarrow", "pyiceberg")  # that decide about rows


def library_versions() -> dict[str, str]:
    """Of Python, and of the libraries that decide what becomes of a record; those that are not installed are left out."""
    found = {"python": python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class RunBasis:
    """What a run works by.

    contracts: dataset to the state that the lake keeps (``_contracts``). sources, destinations: name to state (``_specs``).
    topics: of a run over Kafka, by name ``{topic_id, partitions}``, as they were when it began. options: those that were given, or
    have a default. since: when the run began to work by it.
    """

    contracts: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    destinations: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    headrace: str = VERSION
    libraries: Mapping[str, str] = field(default_factory=library_versions)
    since: str = ""

    def document(self) -> dict[str, Any]:
        """As it is noted."""
        return asdict(self)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> RunBasis:
        """As it was noted; what a later version has added is left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{"headrace": "", "libraries": {}} | {key: value for key, value in document.items() if key in known})
