"""Runs operators one by one, without scheduler and database, and tells how each ended. Run by Airflow's interpreter."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import patch

from airflow.sdk import Asset
from airflow.sdk.exceptions import TaskDeferred

from templates.airflow import command, triggers
from templates.airflow.approvals import ApproveHeldOperator, VerdictOperator
from templates.airflow.gates import GateOperator
from templates.airflow.operators import HeadraceOperator, PublishOperator, RangeOperator
from templates.airflow.triggers import FlinkJobTrigger, LandedTrigger
from templates.airflow.waiting import PartitionsOperator, PlanOperator

HOME = Path(sys.argv[1])
command.GRACE_S = 2.0


TABLES = {"validated.x": {"rows": 3, "content_hash": "aa"}}


class Instance(SimpleNamespace):
    """A task instance, as far as an operator asks it."""

    def __init__(self):
        super().__init__(dag_id="d", run_id="r:1", task_id="t", pushed={})

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key="return_value"):
        if key == "began":
            return "2026-11-01T00:00:00+00:00"
        foreseen = [{"from": f"2026-11-01T{hour:02}:00:00Z", "to": f"2026-11-01T{hour + 1:02}:00:00Z"} for hour in (1, 5)]
        known = {
            "ingest": [{"run_id": "run-1", "exit_code": 0, "tables": TABLES}, {"run_id": "run-2", "exit_code": 1}],
            "all": {"held": foreseen},
            "some": {"held": foreseen[:1]},
        }
        return known.get(task_ids)


def context(**more):
    assets = {}
    at = datetime(2026, 11, 1, tzinfo=UTC)
    events = SimpleNamespace(extra=None)
    given = {
        "task_instance": Instance(),
        "params": {},
        "data_interval_start": at,
        "data_interval_end": at.replace(hour=2),
    }
    return {**given, "outlet_events": {Asset("headrace://p/validated/x"): events}, "assets": assets, **more}


def run(operator, given=None):
    """How it ended: the name of what it raised, its words, what it returned and pushed."""
    given = given or context()
    try:
        returned = type(operator).execute.__wrapped__(operator, given)
        raised, words = "", ""
    except TaskDeferred as deferred:
        returned, raised, words = None, "deferred", str(deferred.trigger.serialize())
    except BaseException as error:
        returned, raised, words = None, type(error).__name__, str(error)
    extra = [event.extra for event in given["outlet_events"].values()]
    return {"raised": raised, "words": words, "returned": returned, "pushed": given["task_instance"].pushed, "extra": extra}


def headrace(*command, **more):
    return HeadraceOperator(task_id="t", command=list(command), project=str(HOME), **more)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def killed(*words, how, **more):
    """A task that sleeps, ended in a way; whether what it had started is gone, and how long that took."""
    file = HOME / f"pids-{how}-{len(words)}"
    operator = headrace("sleep", str(file), *words, **more)
    found = {}
    thread = threading.Thread(target=lambda: found.update(run(operator)))
    thread.start()
    until = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.05)
    pids = [int(pid) for pid in file.read_text().split()]
    began = time.monotonic()
    if how == "on_kill":
        operator.on_kill()
    if how == "leash":
        operator._call._process.send_signal(signal.SIGTERM)
    thread.join(60)
    return {**found, "left": [pid for pid in pids if alive(pid)], "seconds": time.monotonic() - began}


def orphaned():
    """A task process that is killed outright: what it had started ends by itself."""
    file = HOME / "pids-orphan"
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); from templates.airflow.command import Call\n"
        "Call(['sleep', sys.argv[1]], print).wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file), os.environ["PYTHONPATH"]], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.05)
    pids = [int(pid) for pid in file.read_text().split()]
    process.kill()
    process.wait()
    until = time.monotonic() + 30
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    return {"left": [pid for pid in pids if alive(pid)]}


def partitions(**given):
    usual = {"input": "drop/%H", "timezone": "UTC", "partition_s": 3600, "project": str(HOME)}
    return run(PartitionsOperator(task_id="p", **{**usual, **given}))


def gate(of="ingest", dataset="x", **more):
    return run(GateOperator(task_id="gate", dataset=dataset, of=of, project=str(HOME), **more))


def verdict(replay):
    return run(VerdictOperator(task_id="gate", replay=replay, project=str(HOME)))


def answered(chosen, timedout=False):
    """How the question about a part that would be held ends."""
    asked = ApproveHeldOperator(task_id="approve_held", respond_s=60)
    event = {
        "chosen_options": chosen, "params_input": {"reason": "known"}, "timedout": timedout,
        "responded_at": datetime.now(UTC), "responded_by_user": {"id": "1", "name": "Ada"},
    }  # fmt: skip
    try:
        return {"returned": asked.execute_complete(context(), event), "raised": "", "words": ""}
    except Exception as error:
        return {"returned": None, "raised": type(error).__name__, "words": str(error)}


def empty(operator):
    """How it ends in an interval without time."""
    at = datetime(2026, 3, 29, 1, tzinfo=UTC)
    return run(operator, context(data_interval_start=at, data_interval_end=at))


def ranged(given, **more):
    return run(RangeOperator(task_id="range", **more), {**context(), **given})


class Cluster(BaseHTTPRequestHandler):
    """Flink's answers about a job, one after the other."""

    answers: ClassVar[list] = []

    def do_GET(self):
        state = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(404 if state is None else 503 if state == "down" else 200)
        self.end_headers()
        unknown = {"errors": ["org.apache.flink.runtime.rest.NotFoundException: Job j not found"]}
        self.wfile.write(json.dumps(unknown if state is None else {"state": state}).encode())

    def log_message(self, *given):
        """Nothing."""


def waited(*answers):
    """What the trigger of a job fires with, and how long the loop stood still meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cluster)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Cluster.answers = list(answers)

    async def wait():
        flink = f"127.0.0.1:{server.server_port}"
        trigger = FlinkJobTrigger(flink, "j", ["job", "cancel", "run-7", "--yes"], str(HOME), every_s=0.05)
        again = FlinkJobTrigger(**trigger.serialize()[1])
        event = await anext(aiter(again.run()))
        await again.on_kill()
        return event.payload

    found = asyncio.run(wait())
    server.shutdown()
    return found


def handed_over(states, waiting=1):
    """The trigger of a first try that Airflow ends, where it says this of the task's state, and of the try that waits."""
    trigger = FlinkJobTrigger("127.0.0.1:1", "j", ["job", "cancel", f"run-of-{states}-{waiting}", "--yes"], str(HOME))
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)

    def asked(dag_id, **given):
        return {"r": {"t": states}} if states != "unknown" else {}[dag_id]

    waits = patch.object(triggers.XCom, "get_one", lambda **_: waiting)
    with waits, patch.object(triggers.RuntimeTaskInstance, "get_task_states", asked):
        asyncio.run(trigger.on_kill())


def cancelled_again():
    """A trigger that Airflow cancels once more while it asks for the task's state."""
    trigger = FlinkJobTrigger("127.0.0.1:1", "j", ["job", "cancel", "run-cancelled-again", "--yes"], str(HOME))
    trigger.task_instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)

    def slow(dag_id, **given):
        time.sleep(0.3)
        return {"r": {"t": "failed"}}

    async def cancel():
        ending = asyncio.ensure_future(trigger.on_kill())
        await asyncio.sleep(0.05)
        ending.cancel()
        await asyncio.wait([ending])
        await asyncio.wait_for(asyncio.gather(*triggers._ENDING), 30)

    with patch.object(triggers.XCom, "get_one", lambda **_: 1), patch.object(triggers.RuntimeTaskInstance, "get_task_states", slow):
        asyncio.run(cancel())


def landing():
    """What the trigger of folders fires with: one that appears, and one that never does."""

    async def wait(folder, seconds):
        trigger = LandedTrigger([folder], "", str(HOME), time.time() + seconds, every_s=0.05)
        asyncio.get_running_loop().call_later(0.2, (HOME / "appears").mkdir, 0o755, True, True)
        return (await anext(aiter(LandedTrigger(**trigger.serialize()[1]).run()))).payload

    return [asyncio.run(wait("appears", 30)), asyncio.run(wait("never", 0.3))]


def event(extra):
    return SimpleNamespace(extra=extra, timestamp=datetime(2026, 11, 1, tzinfo=UTC))


class Later(list):
    """Events of an inlet, of which those after a moment are asked for."""

    def after(self, moment):
        return Later(each for each in self if each.timestamp >= datetime.fromisoformat(moment))

    def before(self, moment):
        return Later(each for each in self if each.timestamp < datetime.fromisoformat(moment))

    def ascending(self, way):
        return Later(sorted(self, key=lambda each: each.timestamp, reverse=not way))

    def limit(self, most):
        return Later(self[:most])


def published(*told):
    """How publish ends after events that told content hashes, an hour after the other, the last one while the run goes on."""
    first = datetime(2026, 11, 1, 1, tzinfo=UTC) - timedelta(hours=len(told))
    events = [
        SimpleNamespace(
            extra={"tables": {"validated.x": {"rows": 3, "content_hash": content}}}, timestamp=first + timedelta(hours=number)
        )
        for number, content in enumerate(told)
    ]
    operator = PublishOperator(task_id="publish", of="ingest", since="partitions", inlets=[asset], outlets=[asset])
    return run(operator, context(inlet_events={asset: Later(events)}))


def published_as_before():
    """How it ends where a description does not say which task tells when a run began."""
    return run(PublishOperator(task_id="publish", of="ingest", outlets=[Asset("headrace://p/validated/x")]))


events = {
    "a": [event({"start": "2026-11-01T03:00:00Z", "end": "2026-11-01T04:00:00Z"})],
    "b": [event(None), event({"start": "2026-10-01T00:00:00Z", "end": "2026-10-02T00:00:00Z"})],
}
asset = Asset("headrace://p/validated/x")
late = event({"start": "2026-11-01T04:00:00Z", "end": "2026-11-01T07:00:00Z"})
old = SimpleNamespace(
    extra={"start": "2026-09-01T00:00:00Z", "end": "2026-12-01T07:00:00Z"}, timestamp=datetime(2026, 10, 1, tzinfo=UTC)
)
none = {"data_interval_start": None, "data_interval_end": None}
(HOME / "drop" / "00").mkdir(parents=True)
told = {
    "exit": {code: run(headrace("exit", code)) for code in ("0", "1", "2", "3", "4", "-9", "130")},
    "outlets": run(headrace("exit", "0", outlets=[Asset("headrace://p/validated/x")])),
    "argv": run(headrace("argv", options={"--empty": "", "--given": "1"}, inputs=["a", "b"])),
    "page": run(
        headrace("argv", options={"--html": "@page"}, reports="pages", reports_url="https://x/r/", runbook="https://x/run")
    ),
    "on_kill": killed(how="on_kill"),
    "on_kill_flink": killed("--runner", "flink", how="on_kill"),
    "deaf": killed("deaf", how="on_kill"),
    "leash": killed(how="leash"),
    "orphaned": orphaned(),
    "jobs": {
        "finished": waited("RUNNING", "down", "FINISHED"),
        "failed": waited("RESTARTING", "FAILED"),
        "lost": waited(None),
    },
    "landing": landing(),
    "partitions": {
        "fail": partitions(),
        "skip": partitions(missing="skip"),
        "wait": partitions(wait_s=60, marker="_SUCCESS"),
        "topic": partitions(input="kafka://h:1/t", partition_s=None),
        "nothing": partitions(input="other/%H", missing="skip"),
    },
    "verdict": {name: verdict(name) for name in ("clean", "partly", "mute", "wrong")},
    "answered": {"yes": answered(["Promote the rest"]), "no": answered(["Reject"]), "late": answered(["Reject"], timedout=True)},
    "gate": {
        "own": gate(),
        "of_others": gate("nothing"),
        "mute": gate(dataset="mute"),
        "none_yet": gate("nothing", "unknown"),
        "wrote": gate(dataset="unknown"),
        "agreed": gate(foreseen_of="all"),
        "partly": gate(foreseen_of="some"),
    },
    "publish": {
        "first": published(),
        "changed": published("bb", "aa"),
        "same": published("bb", "aa", "bb"),
        "as_before": published_as_before(),
    },
    "range": {
        "events": ranged({"triggering_asset_events": events, **none}),
        "lookback": ranged({"triggering_asset_events": {"a": events["a"]}, **none}, lookback_s=86_400),
        "later": ranged(
            {"triggering_asset_events": {"a": events["a"]}, "inlet_events": {asset: Later([old, late])}, **none}, inlets=[asset]
        ),
        "interval": ranged({}, behind_s=86_400),
        "by_hand": ranged({"params": {"start": "2026-01-01T00:00:00+01:00", "end": "2026-01-02T00:00:00Z"}}),
        "no_zone": ranged({"params": {"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00Z"}}),
        "none": ranged(none),
    },
}
told["empty"] = {
    "partitions": empty(PartitionsOperator(task_id="p", input="drop/%H", timezone="UTC", partition_s=3600, missing="skip")),
    "plan": empty(PlanOperator(task_id="plan", dataset="x", size_bytes=1, windows=1, project=str(HOME))),
    "range": empty(RangeOperator(task_id="range")),
}
later = [(datetime.now(UTC) + timedelta(hours=hours)).strftime("%H:%M") for hours in (2, 3)]
shut = PlanOperator(task_id="plan", dataset="x", size_bytes=1, windows=1, hours="-".join(later), project=str(HOME))
told["hours"] = run(shut)
told["home"] = str(HOME)
for state in ("deferred", "failed", "unknown", None):
    handed_over(state)
cancelled_again()
handed_over("deferred", None)
handed_over("deferred", 2)
told["cancelled"] = Path(os.environ["CANCELLED"]).read_text().splitlines()
print(json.dumps(told, default=str))
