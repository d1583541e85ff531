"""A schema to a registry: the mode first, so that a registry that holds to none does not take what the contract forbids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.evolution.avro import reading
from contracts.registry.answers import IncompatibleError
from contracts.registry.client import UNTOLD, RegistryClient
from contracts.spec.model import Compatibility
from contracts.spec.registry import Registry


@dataclass
class Registration:
    """What came of it. reasons: why the registry does not take it, in its words. version: None where it does not say."""

    subject: str
    compatibility: str
    dry_run: bool
    schema_id: int | None = None
    version: int | None = None
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def register_schema(
    registry: Registry,
    subject: str,
    schema: Mapping[str, Any],
    kind: str,
    mode: Compatibility,
    *,
    dry_run: bool,
    patience_s: float,
) -> Registration:
    """Register a schema under a subject that is held to a mode.

    Args:
        registry: where.
        subject: of what.
        schema: the schema.
        kind: AVRO or JSON.
        mode: what later versions must keep.
        dry_run: only ask.
        patience_s: how long each question is asked again.

    Raises:
        RegistryDownError: it does not answer.
        ConfigurationError: it refuses who asks, or the schema as none.
    """
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    client = RegistryClient(registry, patience_s=patience_s)
    done = Registration(subject, mode, dry_run)
    try:
        others = [name for name in client.subjects() if name != subject and name.lower() == subject.lower()]
        done.warnings += [f"there is a subject {other} too, which differs by case only; is it meant?" for other in others]
        before = client.compatibility(subject)
        if before and before != mode:
            done.warnings.append(f"subject {subject} was held to {before}; the contract says {mode}")
        if dry_run:
            done.reasons = client.misfits(subject, text, kind, before)
            if done.reasons == [UNTOLD] and kind == "AVRO":  # Apicurio says no more
                last = client.versions(subject)[-1].schema.schema
                done.reasons = reading(schema, json.loads(last)) or done.reasons
            return done
        known = bool(client.versions(subject))
        if known and before != mode:
            client.set_compatibility(subject, mode)
        try:
            done.schema_id = client.register(subject, text, kind)
        except IncompatibleError as error:
            done.reasons = [str(error)]
            return done
        if not known:  # some registries know no mode of a subject that has no version
            client.set_compatibility(subject, mode)
        done.version = client.subjects_of(f"id-{done.schema_id}").get(subject)
        if done.version is None:
            done.warnings.append("the registry does not say which version it is")
    finally:
        client.close()
    return done
