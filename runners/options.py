"""Options that say where a pipeline runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runners.option_fields import Options, option
from runners.option_readers import duration, one_of, whole

_OURS = ("direct_num_workers", "direct_running_mode")  # of Beam; a slice is run whole by one process


@dataclass(frozen=True, kw_only=True)
class RunnerOptions(Options):
    """Which runner. beam_options: further options of Beam, as on a command line."""

    runner: str = option(
        "Where it runs: direct is this machine, flink a session cluster.",
        one_of("direct", "flink"), metavar="direct|flink", default="direct", shown_default="direct", group="Runner",
    )  # fmt: skip
    beam_options: tuple[str, ...] = field(default=())

    @property
    def workers(self) -> int | None:
        """Parallelism, None for the runner's default. Each pipeline has an option of its own for it."""
        raise NotImplementedError

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        yield from super().problems()
        names = [given.partition("=")[0].lstrip("-") for given in self.beam_options]
        told = "--workers says how many processes there are, of a replay --max-parallel"
        yield from (f"-- --{name}: {told}" for name in names if name in _OURS)

    def arguments(self, *further: str) -> list[str]:
        """The arguments of ``headrace``; options of Beam come last, behind ``--``."""
        return super().arguments(*further, *(["--", *self.beam_options] if self.beam_options else []))


@dataclass(frozen=True, kw_only=True)
class FlinkOptions(RunnerOptions):
    """The cluster of a job on Flink."""

    flink: str | None = option(
        "REST address; headrace.yaml may name it, else FLINK_REST, else localhost:28081.",
        metavar="HOST:PORT", default=None, group="Flink",
    )  # fmt: skip
    python_workers: str | None = option(
        "Where its Python workers are: process:COMMAND on each machine, or external:HOST:PORT, a pool in each pod.",
        metavar="KIND:WHERE", default=None, shown_default="process: this installation", group="Flink",
    )  # fmt: skip
    python_workers_per_taskmanager: int | None = option(
        "Python workers that each TaskManager starts for the job.",
        whole(1, 1024), metavar="N", default=None, shown_default="its slots, at most those of the job", group="Flink",
    )  # fmt: skip

    def problems(self) -> Iterator[str]:
        """What does not fit."""
        yield from super().problems()
        if self.runner != "flink":
            yield from (f"{name}: with --runner flink only" for name in self.given("Flink"))


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(FlinkOptions):
    """The state of a job on Flink that goes on for long."""

    checkpoint_every: int | None = option(
        "Time between checkpoints.", duration, metavar="DURATION", default=None, shown_default="10s", group="Flink"
    )
    from_savepoint: str | None = option(
        "Start with the state of a savepoint or retained checkpoint.", metavar="PATH", default=None, group="Flink"
    )
