"""DAGs of upkeep: compaction and its kin, checks of what is late, drift."""

from __future__ import annotations

from templates.build.dags.conventions import Conventions
from templates.build.dags.parts import CHECK_TIMEOUT_S, Document, chain, defaults, task

UPKEEP_TIMEOUT_S = 14_400


def upkeep(common: Conventions) -> Document:
    """Compact, expire, clean, check."""
    plan = common.schedules.upkeep
    assert plan is not None
    steps = {
        "compact": ["lake", "compact", "--to", plan.compact],
        "expire": ["lake", "expire", "--older-than", plan.expire],
        "clean": ["lake", "clean", "--older-than", plan.clean],
        "check": ["lake", "check"],
    }
    return {
        **common.shared("upkeep", common.schedules.owner, ""),
        "about": "Merges small files, forgets old snapshots, sweeps what crashed runs left, and checks that the lake fits "
        "together. No row and no content hash changes; safe beside running jobs.",
        "schedule": common.cron(plan.every),
        "defaults": defaults(2, UPKEEP_TIMEOUT_S),
        "tasks": chain(steps),
    }


def checks(common: Conventions) -> Document:
    """What is late."""
    assert common.schedules.checks is not None
    return {
        **common.shared("checks", common.schedules.owner, ""),
        "about": "Red while a delivery or a stream is late, or a worker silent.",
        "schedule": common.cron(common.schedules.checks),
        "defaults": defaults(1, CHECK_TIMEOUT_S),
        "tasks": [task("status", "headrace", command=["status", "--check"])],
    }


def drift(common: Conventions) -> Document:
    """What is deployed against the repository."""
    assert common.schedules.drift is not None
    return {
        **common.shared("drift", common.schedules.owner, ""),
        "about": "Red while what is deployed differs from the repository. It changes nothing.",
        "schedule": common.cron(common.schedules.drift),
        "defaults": defaults(2, CHECK_TIMEOUT_S),
        "tasks": [task("drift", "headrace", command=["drift"])],
    }
