"""Job servers that a runner starts, ended with the run that needs them.

Beam ends its job server when the Python process ends, from ``atexit``: not where the process is killed, or forked and left by
``os._exit``. Prism then goes on without anybody.
"""

from __future__ import annotations

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.job_server import JobServer, StopOnExitJobServer
from apache_beam.runners.portability.prism_runner import PrismJobServer, PrismRunner


class FlinkWithOwnServer(FlinkRunner):
    """Beam's FlinkRunner, whose job server is stopped by ``stop_job_server`` already."""

    _job_server: JobServer | None = None

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        """Beam asks for it where no job server was named."""
        self._job_server = super().default_job_server(options)
        return self._job_server

    def stop_job_server(self) -> None:
        """Does nothing where none was started."""
        if self._job_server is not None:
            self._job_server.stop()


class PrismWithOwnServer(PrismRunner):
    """Beam's PrismRunner with a Prism of its own, which is stopped by ``stop_job_server``. Beam's is one for the whole process."""

    _job_server: JobServer | None = None

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        """Beam asks for it where no job server was named."""
        self._job_server = StopOnExitJobServer(PrismJobServer(options))
        return self._job_server

    def stop_job_server(self) -> None:
        """Does nothing where none was started."""
        if self._job_server is not None:
            self._job_server.stop()
