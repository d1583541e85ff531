"""Contracts that a lake's tables were filled by: ``_contracts/<dataset>/<version>-<hash>.json``, written before the first row."""

from __future__ import annotations

import logging

from contracts.evolution.changes import version_numbers
from contracts.evolution.stored import restored, stored, stored_name
from contracts.spec.model import Contract
from lake.location import Lake

_log = logging.getLogger(__name__)


def keep_contract(lake: Lake, contract: Contract) -> str:
    """Note the contract that a run works by; a state that is there already is not written again. Returns the name of the state."""
    name = stored_name(contract)
    lake.storage.put_if_absent(f"{_folder(lake, contract.dataset)}/{name}", stored(contract))
    return name.removesuffix(".json")


def kept_contract(lake: Lake, dataset: str, state: str) -> Contract | None:
    """A state of a contract; None where it is not there, or cannot be read."""
    try:
        return restored(lake.storage.read(f"{_folder(lake, dataset)}/{state}.json"))
    except (FileNotFoundError, ValueError):
        return None


def kept_contracts(lake: Lake, dataset: str) -> list[Contract]:
    """Every state of a contract that tables were filled by, the oldest version first; of one version the earlier state first."""
    found = []
    for file in lake.storage.files(_folder(lake, dataset)):
        try:
            contract = restored(lake.storage.read(file.location))
        except ValueError:
            _log.warning("%s cannot be read and is passed over", file.location)
            continue
        found.append((version_numbers(contract.version), file.updated_s, contract))
    return [contract for _, _, contract in sorted(found, key=lambda each: each[:2])]


def _folder(lake: Lake, dataset: str) -> str:
    return lake.at_key(f"_contracts/{dataset}")
