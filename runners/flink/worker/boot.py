"""Becomes one Beam SDK worker: asks the runner what to do, and runs until the TaskManager that started it is gone.

The TaskManager starts it through the launcher (``launcher.py``) with the arguments of Beam's container contract; of these it uses:

    --id=ID                     the worker's name
    --provision_endpoint=URL    gRPC service that tells the rest: options, logging, control and artifact endpoints

It needs nothing but Beam and what the pipeline imports. Beam discards what a worker process prints, so everything before
Beam's own logging is connected goes to ``$HEADRACE_WORKER_LOG_DIR/workers.log``, where that is set, else to stderr.

**Guarantees**: the worker ends when its parent process ends, however that ends. It watches a handle of the parent (pidfd), not
PR_SET_PDEATHSIG: that fires when the *thread* ends that started it, on Flink one task's thread, while other tasks share the worker.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

_WRONG_USE = 2
_PARENT_POLL_S = 1.0
_PROVISION_TIMEOUT_S = 30
_LIST_OF_PACKAGES = b"submission_environment_dependencies.txt"  # Beam stages it with every job; nothing to install


def main(arguments: list[str]) -> None:
    """Run one worker."""
    parent = os.getppid()
    os.umask(0o007 if os.environ.get("HEADRACE_FILES") == "group" else 0o077)  # as lake/storage/access.py, which is not loaded here
    _open_log()
    parsed = _parse(arguments)
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="watch-parent").start()
    began = time.monotonic()
    info = _provision(parsed.provision_endpoint, parsed.id)
    _say(f"worker {parsed.id}: provisioned after {time.monotonic() - began:.1f} s")
    os.environ.update(_environment(info, parsed.id))
    logging.getLogger().addHandler(logging.NullHandler())  # else Beam's imports add one that prints every record once more, here
    from apache_beam.runners.worker import sdk_worker_main  # noqa: PLC0415 - takes seconds; wrong arguments shall not wait for it

    sdk_worker_main.main(sys.argv)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--id")
    parser.add_argument("--provision_endpoint")
    parsed, _ = parser.parse_known_args(arguments)
    missing = [f"--{name}" for name in ("id", "provision_endpoint") if not getattr(parsed, name)]
    if missing:
        _refuse(f"{' and '.join(missing)} missing; this is started by a Beam runner (environment_type PROCESS), not by hand")
    return parsed


def _provision(endpoint: str, worker_id: str) -> Any:
    """What the runner says about this worker."""
    try:
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415 - see main
        from apache_beam.portability.api import beam_provision_api_pb2 as api  # noqa: PLC0415
        from apache_beam.portability.api import beam_provision_api_pb2_grpc as api_grpc  # noqa: PLC0415
    except ImportError as error:
        _refuse(f"{sys.executable} has no Apache Beam ({error}); write the launcher with the pipeline's interpreter")
    try:
        with grpc.insecure_channel(endpoint) as channel:
            ask = api_grpc.ProvisionServiceStub(channel).GetProvisionInfo
            who = [("worker_id", worker_id)]
            answer = ask(api.GetProvisionInfoRequest(), timeout=_PROVISION_TIMEOUT_S, metadata=who, wait_for_ready=True)
    except grpc.RpcError as error:
        _refuse(f"worker {worker_id}: no answer from the provision service at {endpoint} ({error.code().name})")
    return answer.info


def _environment(info: Any, worker_id: str) -> dict[str, str]:
    """The variables that Beam's ``sdk_worker_main`` reads."""
    from google.protobuf import json_format, text_format  # type: ignore[import-untyped]  # noqa: PLC0415 - see main

    staged = [artifact for artifact in info.dependencies if not artifact.role_payload.endswith(_LIST_OF_PACKAGES)]
    if staged:
        _say(f"worker {worker_id}: {len(staged)} staged files are not installed; this worker has its interpreter's packages")
    endpoints = {"LOGGING": info.logging_endpoint, "CONTROL": info.control_endpoint}
    return {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": os.environ.get("TMPDIR", "/tmp"),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        **{f"{name}_API_SERVICE_DESCRIPTOR": text_format.MessageToString(endpoint) for name, endpoint in endpoints.items()},
    }


def _end_with(parent: int) -> None:
    """Wait for the parent's end, then end at once: nobody is left to tell, and Flink gives the work to another worker."""
    try:
        handle = os.pidfd_open(parent)
    except (OSError, AttributeError):  # gone already; or not Linux
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_S)
    else:
        if os.getppid() == parent:  # else its id is another process' by now
            select.select([handle], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def _open_log() -> None:
    folder = os.environ.get("HEADRACE_WORKER_LOG_DIR")
    if not folder:
        return
    try:
        handle = os.open(Path(folder) / "workers.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o660)
    except OSError as error:
        _say(f"{folder}/workers.log cannot be written ({error.strerror}); logging to stderr")
        return
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} flink worker {os.getpid()}: {text}", file=sys.stderr, flush=True)


def _refuse(text: str) -> NoReturn:
    _say(text)
    raise SystemExit(_WRONG_USE)


if __name__ == "__main__":
    main(sys.argv[1:])
