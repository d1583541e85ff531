"""The environment of a process has proxies; Flink is asked without."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from tests.support.flink_stub import A, StubCluster, StubJob, serving
from tests.support.processes import ROOT


def test_a_proxy_of_the_environment_is_not_asked() -> None:
    with serving(StubCluster(jobs=[StubJob(A, "web")])) as cluster, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        look = f"from runners.flink.rest import FlinkRest; print(len(FlinkRest({cluster.address!r}).jobs()))"
        env = {**os.environ, "http_proxy": proxy, "no_proxy": "", "NO_PROXY": "", "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", look], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr
