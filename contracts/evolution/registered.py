"""A contract against the Avro schemas that a registry holds: by Avro's own rules, and by the logical types that those pass over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from contracts.errors import ConfigurationError
from contracts.evolution.avro import avro_schema, logical_misfits, reading
from contracts.evolution.changes import Change, Direction, Step, is_transitive
from contracts.evolution.verdicts import Against, Verdict
from contracts.spec.model import Contract

_SAID = {
    Direction.BACKWARD: "data of the registered schema cannot be read by the contract's: {}",
    Direction.FORWARD: "data of the contract's schema cannot be read by the registered one: {}",
}
_MIGRATION = "headrace contract diff says which change of the contract it is; make that one compatible, or make a new major version"


class RegisteredAvro(NamedTuple):
    """One version of a subject. name: in words, such as registry version 3."""

    name: str
    text: str


def judge_registered(contract: Contract, earlier: Sequence[RegisteredAvro]) -> Verdict:
    """Hold a contract's Avro schema against registered ones.

    Args:
        contract: the new contract.
        earlier: at least one, the newest last.

    Raises:
        ConfigurationError: one of them is no Avro schema.
    """
    schema, mode = avro_schema(contract), contract.compatibility
    found = []
    for registered in reversed(earlier):
        try:
            before = json.loads(registered.text)
            broken = {
                Direction.BACKWARD: [*reading(schema, before), *logical_misfits(schema, before)],
                Direction.FORWARD: [*reading(before, schema), *logical_misfits(before, schema)],
            }
        except (ValueError, ConfigurationError) as error:
            raise ConfigurationError(f"{registered.name}: {error}") from None
        changes = tuple(
            Change(code="avro", what=_SAID[direction].format("; ".join(told)), breaks=frozenset({direction}), migration=_MIGRATION)
            for direction, told in broken.items()
            if told
        )
        found.append(Against(registered.name, changes, is_transitive(mode) or registered is earlier[-1]))
    return Verdict(after=contract, modes=(mode,), against=tuple(found), needed=Step.NONE, done=Step.NONE)
