"""Specs of sources and destinations that runs worked by: ``_specs/<kind>/<name>/<state>.json``, written before the first row."""

from __future__ import annotations

from contracts.evolution.stored_specs import state_name, stored_destination, stored_source
from contracts.spec.destination import Destination
from contracts.spec.source import SourceSpec
from lake.location import Lake
from lake.privacy import hidden_ids

SOURCE, DESTINATION = "source", "destination"


def keep_source(lake: Lake, spec: SourceSpec) -> str:
    """Note the source spec that a run reads by. Returns the name of its state."""
    return _keep(lake, SOURCE, spec.name, stored_source(spec), spec.revision)


def keep_destination(lake: Lake, destination: Destination) -> str:
    """Note the destination that a run delivers to. Returns the name of its state."""
    return _keep(lake, DESTINATION, destination.name, stored_destination(destination, hidden_ids(lake)))


def kept_spec(lake: Lake, kind: str, name: str, state: str) -> bytes | None:
    """A spec that was noted; None where it is not there."""
    try:
        return lake.storage.read(_place(lake, kind, name, state))
    except FileNotFoundError:
        return None


def _keep(lake: Lake, kind: str, name: str, text: bytes, revision: int | None = None) -> str:
    state = state_name(text, revision)
    lake.storage.put_if_absent(_place(lake, kind, name, state), text)
    return state


def _place(lake: Lake, kind: str, name: str, state: str) -> str:
    return lake.at_key(f"_specs/{kind}/{name}/{state}.json")
