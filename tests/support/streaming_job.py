"""A small streaming job in the place of ``headrace ingest``: submits, waits until it runs, notes its submission, and returns.

    python -m tests.support.streaming_job --lake L --flink HOST:PORT --jar JAR --worker COMMAND --conf DIR --out FILE
        [--from-savepoint URI]

It counts impulses in state and appends ``<count>`` lines to FILE: after a restart from a checkpoint the count goes on, after one
from the beginning it starts with 1 again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.combiners import CountCombineFn
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.userstate import CombiningValueStateSpec

from lake.location import Lake
from lake.runs.submission import Attempt, record_submission, resumed_run_id
from runners.flink.rest import FlinkRest

IMPULSE_S = 0.5
_DEADLINE_S = 120.0


class CountFn(beam.DoFn):
    """Counts in state; the bound of the state is one number."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), CountCombineFn())

    def __init__(self, out: str) -> None:
        self._out = out

    def process(self, element: tuple[str, Any], count: Any = beam.DoFn.StateParam(COUNT)) -> Iterable[Any]:  # noqa: B008 - as Beam wants it
        count.add(1)
        with open(self._out, "a", encoding="utf-8") as file:
            file.write(f"{count.read()}\n")
        return ()


def submit(arguments: argparse.Namespace, job_name: str) -> None:
    """Start the job on the cluster; it goes on when this process has ended."""
    options = [
        "--runner=FlinkRunner", f"--flink_master={arguments.flink}", f"--flink_job_server_jar={arguments.jar}", "--streaming",
        f"--flink_conf_dir={arguments.conf}", "--environment_type=PROCESS", f"--job_name={job_name}", "--parallelism=1",
        "--environment_config=" + json.dumps({"command": arguments.worker}), "--checkpointing_interval=1000",
        "--externalized_checkpoints_enabled", "--retain_externalized_checkpoints_on_cancellation",
        "--finish_bundle_before_checkpointing",
    ]  # fmt: skip
    if arguments.from_savepoint:
        options.append(f"--savepoint_path={arguments.from_savepoint}")
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    _ = (
        pipeline
        | "Tick" >> PeriodicImpulse(fire_interval=IMPULSE_S)
        | "Key" >> beam.Map(lambda moment: ("all", moment)).with_output_types(tuple[str, Any])
        | "Count" >> beam.ParDo(CountFn(arguments.out))
    )
    pipeline.run()


def main() -> None:
    """Submit, wait, record."""
    parser = argparse.ArgumentParser()
    for name in ("lake", "flink", "jar", "worker", "conf", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--from-savepoint")
    arguments = parser.parse_args()
    submitted = datetime.now(UTC)
    run_id = resumed_run_id() or f"{submitted:%Y%m%dT%H%M%S%f}Z-ticks-{os.getpid():06x}"
    rest = FlinkRest(arguments.flink)
    before = {job.job_id for job in rest.jobs()}
    submit(arguments, run_id)
    deadline = time.monotonic() + _DEADLINE_S
    while not (found := [j for j in rest.jobs() if j.name == run_id and j.job_id not in before and j.state == "RUNNING"]):
        assert time.monotonic() < deadline, "the job did not run"
        time.sleep(0.2)
    attempt = Attempt(found[0].job_id, submitted, arguments.from_savepoint)
    record_submission(Lake.at(arguments.lake), run_id, sys.argv[1:], run_id, arguments.flink, attempt)
    print(run_id)


if __name__ == "__main__":
    main()
