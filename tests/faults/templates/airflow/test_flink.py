"""A task that is ended takes its bounded job on a real Flink with it, and a later run goes on."""

from pathlib import Path

import pytest

from devstack.stack import Stack
from lake.location import Lake
from lake.tables.publish import table_totals
from tests.support.airflow import airflow_python, in_airflow
from tests.support.runs import ingest
from tests.support.shop import TABLE, WEBSHOP, event

pytestmark = pytest.mark.long
EVENTS = 300_000


def test_a_task_that_is_killed_cancels_its_job_and_what_it_leaves_is_whole(stack: Stack, tmp_path: Path) -> None:
    airflow_python()
    given = tmp_path / "drop"
    given.mkdir()
    (given / "events.jsonl").write_text("".join(event(n, 8 + n % 4) + "\n" for n in range(EVENTS)))
    lake = tmp_path / "lake"
    told = in_airflow("flink", tmp_path, stack.flink_rest, str(WEBSHOP), str(lake), str(given))
    assert told["ran"], "the job ended before it could be killed; give it more events"
    assert told["states"] == ["CANCELED"]
    assert told["raised"] == "AirflowException"
    ingest(lake, [given])  # as the next try
    ingest(tmp_path / "undisturbed", [given])
    assert table_totals(Lake.at(str(lake)).load(TABLE)) == table_totals(Lake.at(str(tmp_path / "undisturbed")).load(TABLE))
