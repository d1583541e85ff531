"""Beam's worker pool, on loopback: it has no login, and starts processes for whoever reaches its port.

    python -P -m runners.flink.worker.pool --service_port=50000 --container_executable=COMMAND

Beam's own command, with the same arguments, listens on all interfaces. A TaskManager in the same pod asks it by localhost.
"""

from __future__ import annotations

import sys

from apache_beam.runners.worker import worker_pool_main

from runners.loopback import keep_grpc_on_loopback

if __name__ == "__main__":
    keep_grpc_on_loopback()
    worker_pool_main.main(sys.argv)
