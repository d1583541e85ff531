"""``headrace drift`` against a real Airflow: what its API says of DAGs, pools and files, and what becomes otherwise.

Long: it starts one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from devstack import airflow
from devstack.airflow_api import AirflowApi, wait_until
from devstack.stack import Stack
from templates.build.airflow import POOLS
from tests.support.real_airflow import airflow_stack
from tests.support.shop import WEBSHOP

pytestmark = pytest.mark.long
WITHIN_S = 300.0
SCHEDULES = """
lake: lake
schedules:
  name: shop
  start: 2026-11-02
  sources:
    web: {input: drop/%Y-%m-%d/%H, catchup: false, every: day}
  checks: day
  drift: day
  backfill: {}
"""
DAGS = ("shop.backfill.customer_event", "shop.checks", "shop.drift", "shop.ingest.web", "shop.rollback.customer_event")


class Deployed:
    """A project beside an Airflow whose DAG folder has what was built of it."""

    def __init__(self, stack: Stack, project: Path) -> None:
        self.stack, self.project, self.place = stack, project, airflow.dags_folder(stack.layout) / "shop"
        self.api: AirflowApi

    def write(self, text: str) -> None:
        """The project file; and what is built of it."""
        (self.project / "headrace.yaml").write_text(text)
        assert CliRunner().invoke(main, ["airflow", "build", "--project", str(self.project)]).exit_code == 0

    def deploy(self) -> None:
        """Bring the files into the DAG folder."""
        shutil.copytree(self.project / "airflow", self.place, dirs_exist_ok=True)
        document = json.loads((self.place / "dags.json").read_text())
        (self.place / "dags.json").write_text(json.dumps({**document, "project": str(self.project)}))

    def told(self) -> list[tuple[str, str]]:
        """What differs."""
        command = ["drift", "--only", "dags", "--airflow", self.stack.airflow_address, "--project", str(self.project), "--json"]
        done = CliRunner().invoke(main, command)
        assert done.exit_code in (0, 1), (done.output, done.exception)
        return [(one["what"], one["deployed"].split(" (")[0]) for one in json.loads(done.stdout)["differences"]]

    def wait(self, wanted: list[tuple[str, str]]) -> None:
        """Until that is what differs: Airflow reads files now and then."""
        wait_until(lambda: self.told() == wanted, {True}, WITHIN_S)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch, airflow_stack(folder, patch) as stack:
        project = folder / "shop"
        shutil.copytree(WEBSHOP / "sources", project / "sources")
        made = Deployed(stack, project)
        made.write(SCHEDULES)
        made.deploy()
        stack.up(("airflow",), deadline_s=airflow.DEADLINE_S)
        made.api = AirflowApi(stack.airflow_address)
        wait_until(lambda: set(DAGS) <= made.api.dag_ids(), {True}, WITHIN_S)
        yield made


def _pools(deployed: Deployed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((deployed.project / "airflow" / POOLS).read_text())
    return found


def test_from_the_first_deploy_to_a_schedule_that_was_taken_out(deployed: Deployed) -> None:
    paused = [(f"DAG {name}", "paused") for name in DAGS[:4]]  # as Airflow makes new ones; rollback has no schedule
    deployed.wait([*paused, ("pool shop.backfill", "not there: its tasks never start")])
    deployed.api.make_pools(_pools(deployed))
    assert deployed.told() == paused
    for name in DAGS[:4]:
        deployed.api.unpause(name)
    assert deployed.told() == []

    deployed.api.send("PATCH", "/pools/shop.backfill", {"name": "shop.backfill", "slots": 3, "include_deferred": False})
    assert deployed.told() == [("pool shop.backfill", "3 slots")]
    deployed.api.send("PATCH", "/pools/shop.backfill", {"name": "shop.backfill", "slots": 1, "include_deferred": False})

    deployed.write(SCHEDULES.replace("catchup: false, every: day", "catchup: false, every: day, retries: 1"))
    assert deployed.told() == [("DAG shop.ingest.web", "made of another description")]
    deployed.deploy()
    deployed.wait([])

    deployed.write(SCHEDULES.replace("  checks: day\n", "").replace("  backfill: {}\n", ""))
    left = [(f"DAG {name}", "there") for name in (*DAGS[:2], DAGS[4])]
    assert [one for one in deployed.told() if one[1] == "there"] == [*left, ("pool shop.backfill", "there")]
    deployed.deploy()
    deployed.api.send("DELETE", "/pools/shop.backfill", None)
    deployed.wait([])  # Airflow remembers the DAGs: that is their history

    run = deployed.api.trigger("shop.drift")
    assert deployed.api.wait_run("shop.drift", run, WITHIN_S) == "success"
    (deployed.project / "headrace.yaml").write_text(SCHEDULES)  # and nothing is built
    run = deployed.api.trigger("shop.drift")
    assert deployed.api.wait_run("shop.drift", run, WITHIN_S) == "failed"
    (task,) = deployed.api.tasks("shop.drift", run)
    assert task["try_number"] == 1, "what differs is no reason to try again"


def test_a_file_that_airflow_cannot_read_and_a_source_that_is_gone(deployed: Deployed) -> None:
    deployed.write(SCHEDULES.replace("  checks: day\n", "").replace("  backfill: {}\n", ""))
    deployed.deploy()
    deployed.wait([])
    source = deployed.project / "sources" / "web.yaml"
    source.rename(source.with_suffix(".gone"))
    wait_until(lambda: ("DAG shop.ingest.web", "broken: it cannot be made") in deployed.told(), {True}, WITHIN_S)
    source.with_suffix(".gone").rename(source)
    deployed.wait([])
    loader = deployed.place / "headrace_dags.py"
    text = loader.read_text()
    loader.write_text(f"import nothing_of_this_name\n{text}")
    error = ("file shop/headrace_dags.py", "cannot be read: ModuleNotFoundError: No module named 'nothing_of_this_name'")
    wait_until(lambda: error in deployed.told(), {True}, WITHIN_S)
    loader.write_text(text)
    deployed.wait([])


def test_who_asks_without_a_token_that_is_right_is_refused(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_AIRFLOW_TOKEN", "wrong")
    command = ["drift", "--only", "dags", "--airflow", deployed.stack.airflow_address, "--project", str(deployed.project)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 3 and "it refuses who asks" in done.output
