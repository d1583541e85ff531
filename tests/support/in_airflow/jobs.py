"""Runs operators of streaming jobs against a headrace that answers as it is told, and tells how each ended and what it asked."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

from templates.airflow.jobs import DeployOperator, StopOperator, TakeBackOperator
from templates.airflow.waiting import PlanOperator, replay_name

HOME = Path(sys.argv[1])
ASKED, ANSWERS = Path(os.environ["ASKED"]), Path(os.environ["ANSWERS"])
PREVIOUS = os.environ["HEADRACE_COMMAND"].rpartition(" ")[0] + " before"
START = "cd / && headrace ingest web --input=kafka://h:1/t --runner=flink --from-savepoint file:/s/1 -- --x=1"
SPAN = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"}
STOPPED = {"run_id": "r1", "savepoint": "file:/s/1", "start_again": START, "frontiers": {}}


def job(run_id="r2", state="RUNNING"):
    return {"source": "web", "run_id": run_id, "job_id": "j", "state": state}


def given(operator, xcom=None, start=None, begun=None, again=0, **answers):
    """How it ended, what it asked and pushed. start: what XCom holds of the task of this name; begun: its key of that name."""
    answers = {key.replace("_", " "): value for key, value in answers.items()}
    ANSWERS.write_text(json.dumps({"status": [0, []], "job list": [0, []], **answers}))
    ASKED.write_text("")
    pushed, known = {}, {("start", "return_value"): start, ("start", "begun"): begun}

    def pull(task_ids, key="return_value"):
        return known.get((task_ids, key), xcom)

    ti = SimpleNamespace(
        dag_id="d",
        run_id="r",
        task_id="t",
        try_number=1 + again,
        xcom_push=lambda key, value: pushed.update({key: value}),
        xcom_pull=pull,
    )
    try:
        returned, raised, words = type(operator).execute.__wrapped__(operator, {"task_instance": ti, "params": SPAN}), "", ""
    except Exception as error:
        returned, raised, words = None, type(error).__name__, str(error)
    return {"returned": returned, "raised": raised, "words": words, "asked": ASKED.read_text().splitlines(), "pushed": pushed}


def began(at):
    """Answers about a run that began at a savepoint."""
    return {"job status": [0, {"submissions": [{"from_savepoint": at}]}]}


def deploy(**more):
    return DeployOperator(task_id="t", source="web", input="kafka://h:1/t", workers=1, project=str(HOME), **more)


def stop(previous=""):
    return StopOperator(task_id="t", source="web", project=str(HOME), previous=previous)


def back(previous=""):
    return TakeBackOperator(task_id="t", source="web", project=str(HOME), previous=previous)


def plan(again, *states):
    """Where these are the states of the replays of a run."""
    names = [replay_name("x", SPAN["start"], "r") + (f"-{number + 1}" if number else "") for number in range(len(states))]
    known = [{"name": name, "state": state} for name, state in zip(names, states, strict=True)]
    figures = {
        "bytes": 1,
        "windows": 1,
        "records": 1,
        "estimated_seconds": 1,
        "consumers": [],
        "approval_needed": [],
        "above_ceiling": [],
    }
    operator = PlanOperator(task_id="t", dataset="x", size_bytes=9, windows=9, project=str(HOME))
    return given(operator, again=again, replay_list=[0, known], replay_plan=[0, figures])


ended = {"ended": {"how": "stopped", "savepoint": "file:/s/1", "at": "2026-11-27"}, "start_again": START}
print(
    json.dumps(
        {
            "deploy_new": given(deploy(), ingest=[0, {"run_id": "r2"}]),
            "deploy_again": given(deploy(), job_list=[0, [job()]]),
            "deploy_lost": given(deploy(), job_list=[0, [job("r1", "LOST")]]),
            "deploy_blind": given(deploy(), status=[3, None]),
            "deploy_no_list": given(deploy(), job_list=[0, None]),
            "deploy_no_status": given(deploy(), status=[0, None]),
            "deploy_ending": given(deploy(), job_list=[0, [job("r1", "CANCELLING")]]),
            "stop_no_list": given(stop(), job_list=[0, {"error": "unauthorized"}]),
            "deploy_others": given(deploy(savepoint_of="stop"), STOPPED, job_list=[0, [job("r9")]], **began(None)),
            "deploy_own": given(deploy(savepoint_of="stop"), STOPPED, job_list=[0, [job()]], **began("file:/s/1")),
            "deploy_savepoint": given(deploy(savepoint_of="stop"), STOPPED),
            "stop": given(stop(), job_list=[0, [job("r1")]], job_stop=[0, {"from_savepoint": "file:/s/1", "start_again": START}]),
            "stop_failed": given(stop(), job_list=[0, [job("r1")]], job_stop=[3, None]),
            "stop_again": given(stop(), **{"job list --all": [0, [job("r1", "FINISHED")]], "job status": [0, ended]}),
            "stop_nothing": given(stop()),
            "stop_no_way_back": given(stop("/no/such/headrace"), job_list=[0, [job("r1")]]),
            "back": given(back(PREVIOUS), STOPPED, {"run_id": "r2"}, job_list=[0, [job()]], ingest=[0, {"run_id": "r3"}]),
            "back_final": given(back(PREVIOUS), STOPPED, ingest=[2, None]),
            "back_down": given(back(PREVIOUS), STOPPED, ingest=[3, None]),
            "back_by_hand": given(back(), STOPPED, {"run_id": "r2"}, job_list=[0, [job()]]),
            "back_unstopped": given(back(PREVIOUS), None, job_list=[0, [job("r1")]]),
            "back_killed_start": given(back(PREVIOUS), STOPPED, begun="r2", job_list=[0, [job()]], ingest=[0, {"run_id": "r3"}]),
            "back_failed": given(
                back(PREVIOUS),
                STOPPED,
                {"run_id": "r2"},
                job_list=[0, [job("r2", "FAILED"), job("r8", "LOST")]],
                **began("file:/s/1"),
            ),
            "back_ending": given(back(PREVIOUS), STOPPED, {"run_id": "r2"}, job_list=[0, [job("r2", "CANCELLING")]]),
            "back_again": given(back(PREVIOUS), STOPPED, {"run_id": "r2"}, job_list=[0, [job("r3")]], **began("file:/s/1")),
            "back_others": given(back(PREVIOUS), STOPPED, {"run_id": "r2"}, job_list=[0, [job("r9")]], **began("file:/s/2")),
            "back_nameless": given(back(PREVIOUS), STOPPED, {"run_id": "r2"}, job_list=[0, [job(None)]]),
            "back_by_hand_again": given(back(), STOPPED, {"run_id": "r2"}, job_list=[0, [job("r3")]], **began("file:/s/1")),
            "back_late": given(
                back(PREVIOUS),
                STOPPED,
                {"run_id": "r2"},
                **{"job list --all": [0, [job(name, "CANCELED") for name in ("r1", "r2", "r9")]]},
                **began("file:/s/2"),
            ),
            "plan": [
                plan(0),
                plan(1),
                plan(1, "finished"),
                plan(1, "promoted"),
                plan(1, "promoted", "begun"),
                plan(1, "rolled back", "promoted"),
            ],
            "back_unset": given(back("$NOT_SET_ANYWHERE"), STOPPED),
        }
    )
)
