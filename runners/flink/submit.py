"""The Flink runner: a graph to a session cluster, through Beam's job server, with the options that it needs to run well there.

What each option is for was measured; docs/guides/flink-on-machines.md has the table.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.job_server import JobServer
from apache_beam.runners.runner import PipelineResult

from contracts.errors import ComponentDownError, ConfigurationError, HeadraceError
from devstack.layout import Layout
from devstack.stack import Stack
from runners.direct import Build, quiet_beam
from runners.flink.rest import FlinkRest, Job
from runners.flink.worker.launcher import write_launcher
from runners.loopback import keep_grpc_on_loopback

MAX_PARALLELISM = 128  # key groups: fixed, so that a job can start again with another parallelism
_START_S = 180.0
_POLL_S = 0.5
_INT, _LONG = 2**32, 2**64


@dataclass(frozen=True, kw_only=True)
class FlinkJob:
    """How a job runs on a cluster.

    rest: HOST:PORT of the JobManager. parallelism: slots it takes. workers: ``process:COMMAND`` (each TaskManager starts its Python
    workers by the command), ``external:HOST:PORT`` (a worker pool beside it), or None for our own launcher, which is right where
    TaskManagers see this installation. checkpoint_s: seconds between checkpoints. from_savepoint: where state comes from.
    job_server_jar: None for ``$HEADRACE_JOB_SERVER_JAR``, else the local stack's.
    """

    rest: str
    parallelism: int
    workers: str | None = None
    checkpoint_s: int = 10
    from_savepoint: str | None = None
    job_server_jar: str | None = None
    streaming: bool = True
    endless: bool = True


class _FlinkRunner(FlinkRunner):
    """Stops its job server when the cluster has the job. Beam stops it when the process ends, which may be killed before that."""

    _job_server: JobServer | None = None

    def default_job_server(self, options: PipelineOptions) -> JobServer:
        self._job_server = super().default_job_server(options)
        return self._job_server

    def stop_job_server(self) -> None:
        """Does nothing where none was started."""
        if self._job_server is not None:
            self._job_server.stop()


def submit(build: Build, job: FlinkJob, name: str, extra: Sequence[str] = ()) -> str:
    """Submit a graph and return when it runs.

    Args:
        build: adds the graph to a pipeline.
        job: how it runs.
        name: unique; the cluster shows it.
        extra: further Beam options.

    Returns:
        Flink's id of the job.

    Raises:
        ComponentDownError: the cluster does not answer, or did not take the job.
        ConfigurationError: it has no free slots for it, or something that is needed here is missing.
    """
    rest = FlinkRest(job.rest)
    free = rest.free_slots()
    if free < job.parallelism:
        raise ConfigurationError(
            f"Flink {job.rest}: {free} free slots, the job takes {job.parallelism}; give fewer --workers, or stop a job "
            "(headrace job list)"
        )
    quiet_beam()
    keep_grpc_on_loopback()
    runner = _FlinkRunner()
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions([*_arguments(job, name), *extra]))
    build(pipeline)
    try:
        result = pipeline.run()
        return _running(rest, job, name, result)
    except RuntimeError as error:
        raise ComponentDownError(f"Flink {job.rest}: the job server did not take the job: {_first_line(error)}") from None
    finally:
        runner.stop_job_server()


def _running(rest: FlinkRest, job: FlinkJob, name: str, result: PipelineResult) -> str:
    """The id of the job, once the cluster runs it."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = next((j for j in rest.jobs() if j.name == name), None)
        if found is not None and found.state in ("RUNNING", "FINISHED"):
            return found.job_id
        if (found is not None and found.state in ("FAILED", "CANCELED")) or result.state in ("FAILED", "CANCELLED"):
            raise ComponentDownError(f"Flink {job.rest}: the job did not start{_why(rest, found)}")
        time.sleep(_POLL_S)
    raise ComponentDownError(f"Flink {job.rest}: the job did not run within {_START_S:.0f} s; see the JobManager's log")


def wait(job_id: str, rest: FlinkRest, tick: Callable[[Job], None] = lambda job: None) -> None:
    """Wait until a job has finished.

    Raises:
        HeadraceError: it failed or was cancelled.
    """
    while True:
        job = rest.job(job_id)
        tick(job)
        if job.state == "FINISHED":
            return
        if job.ended:
            raise HeadraceError(f"Flink job {job_id}: {job.state.lower()}{_why(rest, job)}")
        time.sleep(_POLL_S)


def _why(rest: FlinkRest, job: Job | None) -> str:
    failure = rest.last_failure(job.job_id) if job else None
    return f": {failure.cause}" if failure else ""


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _arguments(job: FlinkJob, name: str) -> list[str]:
    arguments = [
        f"--flink_master={job.rest}",
        f"--job_name={name}",
        f"--parallelism={job.parallelism}",
        f"--max_parallelism={MAX_PARALLELISM}",
        f"--sdk_worker_parallelism={job.parallelism}",
        *_environment(job.workers),
        f"--flink_job_server_jar={_job_server_jar(job.job_server_jar)}",
    ]
    if job.streaming:
        arguments += [
            "--streaming",
            f"--checkpointing_interval={job.checkpoint_s * 1000}",
            "--checkpoint_timeout_millis=180000",
            # Without it the output of a bundle that is open at a checkpoint waits for the next bundle; jobs hang at start.
            "--finish_bundle_before_checkpointing",
            # A reader's slice ends with its bundle, and the next begins when Flink closes that: by default a second later.
            "--max_bundle_time_mills=100",
            "--externalized_checkpoints_enabled",
            "--retain_externalized_checkpoints_on_cancellation",
            "--max_cache_memory_usage_mb=256",
            *([] if job.endless else ["--shutdown_sources_after_idle_ms=0"]),
        ]
    if job.from_savepoint:
        arguments.append(f"--savepoint_path={job.from_savepoint}")
    return arguments


def _environment(workers: str | None) -> list[str]:
    kind, _, where = (workers or f"process:{write_launcher(Path.home() / '.cache' / 'headrace')}").partition(":")
    if kind == "process" and where:
        return ["--environment_type=PROCESS", "--environment_config=" + json.dumps({"command": where})]
    if kind == "external" and where:
        return ["--environment_type=EXTERNAL", f"--environment_config={where}"]
    raise ConfigurationError(f"Python workers {workers!r}: expected process:COMMAND or external:HOST:PORT")


def _job_server_jar(given: str | None) -> str:
    """The jar: as given, else ``$HEADRACE_JOB_SERVER_JAR``, else the local stack's; never one that Beam downloads unchecked."""
    jar = Path(given) if given else Stack(Layout.default()).job_server_jar
    if not jar.is_file():
        raise ConfigurationError(
            f"no Beam job server, which submits to Flink, at {jar}: run headrace stack up --only job-server "
            "(needs a JDK and Maven), or name a jar of yours in HEADRACE_JOB_SERVER_JAR"
        )
    return str(jar)


def salts_for(name: Callable[[int, int], bytes], readers: int, parallelism: int) -> tuple[int, ...]:
    """Salts that spread readers over subtasks.

    Flink keys a splittable DoFn by its element, and two elements may well hash to one subtask: the other would idle for ever.

    Args:
        name: the element of (reader, salt), bytes.
        readers: how many.
        parallelism: of the job.

    Returns:
        A salt for each, so that reader i lands on subtask i modulo ``parallelism``.
    """
    salts = []
    for reader in range(readers):
        salt = 0
        while subtask_of(name(reader, salt), parallelism) != reader % parallelism:
            salt += 1
        salts.append(salt)
    return tuple(salts)


def subtask_of(element: bytes, parallelism: int) -> int:
    """Which subtask of a keyed operator gets an element of type bytes.

    Source: Flink's KeyGroupRangeAssignment and MathUtils.murmurHash; Beam's SdfFlinkKeyKeySelector encodes the element in nested
    form, a length and the bytes, and FlinkKey hashes that (older runners, without FlinkKey, hash otherwise).
    """
    return _murmur(_murmur3_128(_nested(element))) % MAX_PARALLELISM * parallelism // MAX_PARALLELISM


def _murmur3_128(key: bytes) -> int:
    """``Hashing.murmur3_128().hashBytes(key).asInt()``: the low 32 bits of MurmurHash3 x64 128 with seed 0."""
    first = second = 0
    whole = len(key) // 16 * 16
    for at in range(0, whole, 16):
        low, high = int.from_bytes(key[at : at + 8], "little"), int.from_bytes(key[at + 8 : at + 16], "little")
        first = (_rotated(first ^ _mixed_low(low), 27, 64) + second) % _LONG * 5 + 0x52DCE729
        second = (_rotated(second ^ _mixed_high(high), 31, 64) + first) % _LONG * 5 + 0x38495AB5
        first, second = first % _LONG, second % _LONG
    first ^= _mixed_low(int.from_bytes(key[whole : whole + 8], "little")) ^ len(key)
    second ^= _mixed_high(int.from_bytes(key[whole + 8 :], "little")) ^ len(key)
    first = (first + second) % _LONG
    second = (second + first) % _LONG
    return (_finished(first) + _finished(second)) % _INT


def _mixed_low(value: int) -> int:
    return _rotated(value * 0x87C37B91114253D5 % _LONG, 31, 64) * 0x4CF5AD432745937F % _LONG


def _mixed_high(value: int) -> int:
    return _rotated(value * 0x4CF5AD432745937F % _LONG, 33, 64) * 0x87C37B91114253D5 % _LONG


def _finished(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD % _LONG
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 % _LONG
    return value ^ value >> 33


def _nested(element: bytes) -> bytes:
    size, length = len(element), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes(length) + element


def _murmur(code: int) -> int:
    code = code * 0xCC9E2D51 % _INT
    code = _rotated(code, 15) * 0x1B873593 % _INT
    code = (_rotated(code, 13) * 5 + 0xE6546B64) % _INT
    code ^= 4
    code = (code ^ code >> 16) * 0x85EBCA6B % _INT
    code = (code ^ code >> 13) * 0xC2B2AE35 % _INT
    code ^= code >> 16
    signed = code - _INT if code >= _INT // 2 else code
    return 0 if signed == -_INT // 2 else abs(signed)


def _rotated(code: int, bits: int, width: int = 32) -> int:
    return (code << bits | code >> (width - bits)) % (1 << width)
