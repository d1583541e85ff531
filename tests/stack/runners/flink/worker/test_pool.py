"""The worker pool of a pod is reached from that pod alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from lake.runs.process import ProcessIdentity
from tests.support.listeners import listeners_of
from tests.support.processes import ROOT
from tests.support.stack import free_ports, wait_for


def test_the_pool_listens_on_loopback() -> None:
    port = free_ports().kafka
    command = [sys.executable, "-P", "-m", "runners.flink.worker.pool", f"--service_port={port}", "--container_executable=true"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL) as pool:
        try:
            wait_for(lambda: answers(port), "the pool")
            us = ProcessIdentity.of(pool.pid)
            assert us is not None
            found = listeners_of([us])
            assert {each.port for each in found} == {port}
            assert not any(each.beyond_loopback for each in found)
        finally:
            pool.send_signal(signal.SIGTERM)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True
