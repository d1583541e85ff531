"""``make demo-airflow`` from end to end, as a reader runs it: what it prints, and that it leaves no process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import airflow
from devstack.processes import marked
from devstack.stack import MARK
from tests.support.airflow import ROOT, airflow_python
from tests.support.stack import free_ports

_DEADLINE_S = 3_000


@pytest.mark.long
@pytest.mark.timeout(_DEADLINE_S + 60)
def test_the_demo_shows_a_held_hour_its_repair_and_that_nothing_is_missing(tmp_path: Path) -> None:
    ports = free_ports()
    env = {
        **os.environ, airflow.ENVIRONMENT: str(airflow_python().parent.parent), "HEADRACE_STACK_HOME": str(tmp_path / "stack"),
        "HEADRACE_STACK_PORT_AIRFLOW": str(ports.airflow), "HEADRACE_STACK_PORT_CDP": str(ports.cdp), "COLUMNS": "240",
    }  # fmt: skip
    command = [sys.executable, "-m", "examples.webshop.demo_airflow", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    told = done.stdout
    assert done.returncode == 0, told[-3_000:] + done.stderr[-3_000:]
    assert list(marked(MARK, env["HEADRACE_STACK_HOME"])) == []
    ingests = re.findall(r"T1[789]:00:00Z +(success|failed) +(.+)", told)
    assert [state for state, _ in ingests] == ["success", "failed", "success"]
    assert "gate failed" in ingests[1][1] and "ingest[0] success" in ingests[1][1], "an hour that is held is landed all the same"
    assert re.search(r"asked: Replay bf-customer_event-", told)
    assert re.search(r"gate success, approve_held success, promote success, held success", told)
    found = re.search(r"^ *delivered +other_copy.*\n *(.+)$", told, re.MULTILINE)
    assert found
    delivered, *_, missing, extra, different = map(int, found[1].replace(",", "").split())
    assert delivered > 0 and (missing, extra, different) == (0, 0, 0)
    assert json.loads(told[told.rindex("{") : told.rindex("}") + 1])["page_views"] > 0
