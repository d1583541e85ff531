"""What all DAGs of a project have in common: owner, runbook, tags, one run at a time, names of assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.spec.model import Contract
from contracts.spec.project import Project
from contracts.spec.schedules import Schedules
from templates.build.dags.parts import CHECK_TIMEOUT_S, LONGEST_RUN_S, Document, dataset_of, defaults, task

RUNBOOKS = {  # pages of docs/runbooks, by kind of DAG
    "ingest": "ingest",
    "deliver": "deliver",
    "reconcile": "deliver",
    "upkeep": "ledger",
    "checks": "index",
    "drift": "drift",
    "backfill": "backfill",
    "rollback": "rollback",
    "deploy": "frontier",
    "upgrade": "upgrade",
}


@dataclass(frozen=True)
class Conventions:
    """Of a project and its schedules."""

    project: Project
    schedules: Schedules

    def shared(self, kind: str, owner: str, contact: str, *tags: str) -> Document:
        """Conventions: one run at a time, nothing overtakes, everything has an owner, a runbook and an end."""
        return {
            "kind": kind,
            "owner": owner,
            "contact": contact,
            "runbook": self._runbook(RUNBOOKS.get(kind, "")),
            "tags": sorted({"headrace", self.schedules.name, kind, *tags}),
            "files": [],
            "schedule": None,
            "start": self.schedules.start.isoformat(),
            "catchup": False,
            "max_active_runs": 1,
            "max_active_tasks": 4,
            "dagrun_timeout_s": LONGEST_RUN_S,
            "defaults": defaults(0, CHECK_TIMEOUT_S),
            "params": {},
        }

    def gate(self, contract: Contract, of: str, task_id: str = "gate", **given: str) -> list[Document]:
        """A task that is red where the gate of a dataset holds something of the run's range; none where it has no gate."""
        if not contract.gated:
            return []
        return [self.of_gates(task(task_id, "gate", [of], dataset=dataset_of(contract), of=of, **given))]

    def of_gates(self, described: Document) -> Document:
        """A task that links to the runbook of gates."""
        return {**described, "runbook": self._runbook("gate")}

    def asset(self, kind: str, name: str) -> str:
        """The address of a dataset in Airflow. kind: validated or delivered."""
        return f"headrace://{self.schedules.name}/{kind}/{name}"

    def cron(self, every: str) -> Document:
        """A schedule in the time zone of the project."""
        return {"cron": every, "timezone": self.schedules.timezone}

    def page(self, option: str) -> Mapping[str, str]:
        """A page of the task's own, below ``reports``; none without. The operator fills the place in."""
        return {option: "@page"} if self.schedules.reports else {}

    def files(self, name: str, folders: Sequence[Path]) -> list[str]:
        """Files without which the DAG cannot run, relative to the project."""
        found = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
        if found is None or not found.is_relative_to(self.project.root):
            return []
        return [str(found.relative_to(self.project.root))]

    def owner(self, contract: Contract) -> tuple[str, str]:
        """Who answers for a dataset, and where they are reached."""
        return contract.owner or self.schedules.owner, contract.contact or ""

    def _runbook(self, page: str) -> str:
        base = self.schedules.runbooks.rstrip("/")
        return f"{base}/{page}.html" if base and page else ""
