"""What tells two descriptions of a DAG apart. Knows no Airflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

STATE = "State: "  # begins the line of a DAG's documentation that says it


def state_of(document: Mapping[str, Any]) -> str:
    """A hash of a DAG's description: the same for the same description, wherever it lies."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
