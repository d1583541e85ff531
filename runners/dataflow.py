"""Dataflow: a bounded graph to Google's service, by Beam's DataflowRunner.

The launcher of a Flex Template passes ``--template_location``: the runner then writes the job's description there, and the launcher
submits it when this process has ended. So nobody here waits for such a job.
"""

from __future__ import annotations

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions
from apache_beam.runners.runner import PipelineResult

from contracts.errors import ComponentDownError, ConfigurationError, JobFailedError
from runners.direct import Build, error_line, quiet_beam
from runners.loopback import keep_grpc_on_loopback
from runners.temporary import temporary_files_removed

_NEEDED = ("project", "region", "temp_location")


def run_on_dataflow(build: Build, name: str, extra: list[str]) -> bool:
    """Run one bounded graph to its end.

    Args:
        build: adds the graph to a pipeline.
        name: of the job, where ``extra`` gives none.
        extra: options of Beam: ``--project``, ``--region``, ``--temp_location``, ``--sdk_container_image``, and so on.

    Returns:
        Whether the job has run; False where only its description was made, for a launcher or a dry run.

    Raises:
        ConfigurationError: an option is missing, or Beam's packages for Google Cloud are.
        ComponentDownError: the service did not take the job.
        JobFailedError: the job failed.
    """
    options = PipelineOptions(extra)
    google = options.view_as(GoogleCloudOptions)
    if missing := [f"--{option}" for option in _NEEDED if not getattr(google, option)]:
        raise ConfigurationError(f"Dataflow needs {', '.join(missing)} behind `--`, among the options of Beam")
    google.job_name = google.job_name or name
    described = bool(google.template_location or options.view_as(TestOptions).dry_run)
    result = _submit(build, options)
    if described:
        return False
    try:
        result.wait_until_finish()
    except Exception as error:  # the runner's own type lies in a package that need not be installed
        raise JobFailedError(f"Dataflow job {google.job_name}: {error_line(error)}") from None
    return True


def _submit(build: Build, options: PipelineOptions) -> PipelineResult:
    try:
        from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner  # noqa: PLC0415 - not of the base install
        from apache_beam.runners.dataflow.internal import apiclient  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigurationError(
            "Dataflow needs packages that are not installed: pip install -r templates/flex/requirements.lock"
        ) from None
    quiet_beam()
    keep_grpc_on_loopback()
    with temporary_files_removed():
        pipeline = beam.Pipeline(runner=DataflowRunner(), options=options)
        build(pipeline)
        try:
            return pipeline.run()
        except Exception as error:  # of whichever client failed: authentication, storage or the service
            raise ComponentDownError(f"Dataflow did not take the job: {error_line(error)}") from None
