"""A bounded run on a real Flink, ended by Airflow while its job runs. flink.py REST PROJECT LAKE INPUT."""

import json
import sys
import threading
import time
import urllib.request
from types import SimpleNamespace

from templates.airflow.operators import HeadraceOperator

rest, project, lake, given = sys.argv[1:]
WITHIN_S = 240


def jobs():
    with urllib.request.urlopen(f"http://{rest}/jobs/overview", timeout=10) as answer:
        return {job["name"]: job["state"] for job in json.load(answer)["jobs"]}


def until(condition):
    end = time.monotonic() + WITHIN_S
    while not (found := condition()) and time.monotonic() < end and thread.is_alive():
        time.sleep(0.2)
    return found


options = {"--runner": "flink", "--flink": rest, "--workers": "1", "--lake": lake}
operator = HeadraceOperator(task_id="ingest", command=["ingest", "web"], options=options, inputs=[given], project=project)
instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", xcom_push=lambda **more: None)
before, found = jobs(), {}


def execute():
    try:
        HeadraceOperator.execute.__wrapped__(operator, {"task_instance": instance, "outlet_events": {}})
        found["raised"] = ""
    except Exception as error:
        found["raised"] = type(error).__name__


thread = threading.Thread(target=execute)
thread.start()
running = until(lambda: [name for name, state in jobs().items() if name not in before and state == "RUNNING"])
operator.on_kill()
thread.join(120)
print(json.dumps({**found, "ran": running, "states": [jobs()[name] for name in running or ()]}))
