"""What the gate holds is told and is no failure, where somebody else looks after it; and the DAGs have that somebody."""

from pathlib import Path
from typing import Any

import yaml

from contracts.spec.project import Project
from templates.build.dags.project import project_dags
from tests.support.gated import GatedShop, held_hours
from tests.support.shop import event

GOOD = {"context": {"page": {"url": "https://shop"}}}


def test_held_partitions_are_a_warning_where_they_are_allowed(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path / "shop")
    lines = [event(1, 8, **GOOD), event(2, 9)]
    refused = shop.take("a", lines)
    assert refused.exit_code == 1 and "the gate holds 1 partition" in refused.reasons[0]
    other = GatedShop(tmp_path / "other")
    allowed = other.take("a", lines, allow_held=True)
    assert (allowed.exit_code, allowed.reasons) == (0, [])
    assert any("the gate holds 1 partition" in told for told in allowed.warnings)
    assert held_hours(other.lake()) == [9]
    assert allowed.manifest["gates"]["customer_event"]["held"] != []


def test_dags_of_a_gated_dataset_have_a_task_for_it_and_those_of_others_have_none(tmp_path: Path) -> None:
    shop = GatedShop(tmp_path / "shop")
    file = shop.folder / "headrace.yaml"
    settings = yaml.safe_load(file.read_text())
    source = shop.project.source_names[0]
    settings["schedules"] = {
        "name": "s", "start": "2026-11-01", "sources": {source: {"input": "drop/%Y-%m-%d/%H"}}, 
        "backfill": {"windows": 1, "maxMemory": "4G", "maxCpu": "2h", "workers": 2, "topics": {"customer_event": "kafka://k:1/again"}},
        "runbooks": "https://runbooks",
    }  # fmt: skip
    file.write_text(yaml.safe_dump(settings))

    def dag_of(dag: str) -> dict[str, Any]:
        project = Project.load(shop.folder)
        assert project.schedules
        (found,) = (one for one in project_dags(project, project.schedules) if one["dag_id"] == dag)
        return found

    def tasks(dag: str) -> dict[str, dict[str, Any]]:
        return {task["task_id"]: task for task in dag_of(dag)["tasks"]}

    ingest, backfill = tasks(f"s.ingest.{source}"), tasks("s.backfill.customer_event")
    assert "--allow-held" in ingest["ingest"]["with"]["command"] and "--allow-held" in backfill["promote"]["with"]["command"]
    how = {"--max-memory": "4G", "--max-cpu": "2h", "--max-parallel": "2"}
    for name in ("plan", "run"):
        assert how.items() <= backfill[name]["with"]["options"].items(), "the plan's estimate is of how it will run"
    assert dag_of("s.backfill.customer_event")["params"]["to_topic"]["default"] == "kafka://k:1/again"
    assert backfill["run"]["with"]["options"]["--to-topic"] == "{{ params.to_topic or '' }}"
    assert ingest["gate"]["after"] == ["ingest"] == ingest["publish"]["after"]  # neither keeps the other from its work
    rules = {name: task["trigger_rule"] for name, task in ingest.items() if "trigger_rule" in task}
    assert rules == {"publish": "all_done_min_one_success", "watcher": "one_failed", "gate": "all_done"}
    assert "trigger_rule" not in backfill["gate"]  # nothing was promoted, so nothing is asked
    assert ingest["gate"]["runbook"] == "https://runbooks/gate.html"
    order = ["plan", "approve", "run", "diff", "gate", "approve_held", "promote", "held"]
    assert [backfill[name]["after"] for name in order[1:]] == [[name] for name in order[:-1]]
    assert backfill["gate"]["runbook"] == backfill["held"]["runbook"] == "https://runbooks/gate.html"
    shop.write_rules({})
    for found in (tasks(f"s.ingest.{source}"), tasks("s.backfill.customer_event")):
        assert not {"gate", "approve_held", "held"} & set(found) and "--allow-held" not in str(found)
    assert tasks("s.backfill.customer_event")["promote"]["after"] == ["diff"]
