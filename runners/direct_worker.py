"""A worker process of the direct runner, which logs as the process that started it.

Beam's own entry says INFO of everything to stderr, in a form of its own, before a line of ours can run.
"""

from __future__ import annotations

import logging
import sys

from contracts.logs import LogOptions, configure

configure(LogOptions.of())  # before Beam is imported: its first words would set up Python's own handler

from apache_beam.runners.worker import sdk_worker_main  # noqa: E402

if __name__ == "__main__":
    if LogOptions.of().level != "debug":  # what fails is raised where the run was started
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    sdk_worker_main.main(sys.argv)
