"""Tiers of tests: a folder each, with what a test of it may do and how long all of them together may take.

The plugin adds up what each tier took, names its slowest tests and the unit tests that compute for too long, and lets no unit
test start a process. With ``--budgets``, as ``make test`` runs it, a tier over its budget fails the run, and every test's time
is in ``.cache/tests/TIER.tsv``: seconds, CPU seconds, test.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pytest


@dataclass(frozen=True)
class Budget:
    """Minutes that a tier's tests may take in sum. of_cpu: by the processors' time, else by the clock, since they wait."""

    minutes: float
    of_cpu: bool


BUDGETS = {
    "unit": Budget(5, of_cpu=True),
    "graph": Budget(30, of_cpu=True),  # of each of two lanes
    "stack": Budget(70, of_cpu=False),  # of three processes at once, as the next; waits for a turn count too
    "faults": Budget(100, of_cpu=False),
}
UNIT_CPU_S = 1.0
TIMES = Path(__file__).parents[2] / ".cache" / "tests"
_SLOWEST = 10


def sized(usual: int, full: int) -> int:
    """A size for every run, and the one of ``make test-long``."""
    return full if os.environ.get("HEADRACE_FULL_LOAD") else usual


def thinned(cases: Iterable[Any], every: int) -> list[Any]:
    """Parameters of a test: each ``every``-th case in every run, the others in ``make test-long``. A tuple is a value of each."""
    marks = ((), (pytest.mark.long,))
    given = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*values, marks=marks[number % every > 0]) for number, values in enumerate(given)]


def tier_of(nodeid: str) -> str:
    """The folder below ``tests``."""
    parts = PurePosixPath(nodeid.partition("::")[0]).parts
    return parts[parts.index("tests") + 1] if "tests" in parts[:-1] else ""


@dataclass
class Tally:
    """Seconds and CPU seconds by test."""

    took_s: Counter[str] = field(default_factory=Counter)
    cpu_s: Counter[str] = field(default_factory=Counter)

    def add(self, report: pytest.TestReport) -> None:
        self.took_s[report.nodeid] += report.duration  # type: ignore[assignment]
        self.cpu_s[report.nodeid] += getattr(report, "cpu_s", 0.0)

    def by_tier(self) -> dict[str, list[str]]:
        """Tests, the slowest first."""
        tiers = defaultdict(list)
        for test, _ in self.took_s.most_common():
            tiers[tier_of(test)].append(test)
        return {name: tiers[name] for name in BUDGETS if name in tiers}

    def over_budget(self) -> list[str]:
        """What is said of each tier that took too long."""
        said = []
        for name, tests in self.by_tier().items():
            budget = BUDGETS[name]
            minutes = sum((self.cpu_s if budget.of_cpu else self.took_s)[test] for test in tests) / 60
            if minutes > budget.minutes:
                said.append(f"tests/{name} is over its budget: {minutes:.1f} min of {budget.minutes} (tests/support/tiers.py)")
        return said

    def write(self, folder: Path) -> None:
        """To a file for each tier, all of its tests; several lanes may run a part of them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, tests in self.by_tier().items():
            lines = (f"{self.took_s[test]:.1f}\t{self.cpu_s[test]:.1f}\t{test}\n" for test in tests)
            with (folder / f"{name}.tsv").open("a") as file:
                file.writelines(lines)

    def lines(self) -> Iterator[str]:
        """Time by tier, slowest tests, unit tests over their limit."""
        for name, tests in self.by_tier().items():
            took, cpu = (sum(counted[test] for test in tests) for counted in (self.took_s, self.cpu_s))
            budget = f"{BUDGETS[name].minutes} min{' of CPU' * BUDGETS[name].of_cpu}"
            yield f"tests/{name}: {len(tests)} tests, {took / 60:.1f} min, CPU {cpu / 60:.1f} min; budget {budget}"
            for test in tests[:_SLOWEST]:
                yield f"  {self.took_s[test]:6.1f} s, CPU {self.cpu_s[test]:6.1f} s  {test}"
        for test in self.by_tier().get("unit", ()):
            if self.cpu_s[test] > UNIT_CPU_S:
                yield f"  computes for {self.cpu_s[test]:.1f} s, a unit test's limit is {UNIT_CPU_S:.0f} s  {test}"


_running = ""  # the tier of the test that runs


def _no_process_in_unit_tests(event: str, _arguments: object) -> None:
    if _running == "unit" and event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
        raise RuntimeError("a test in tests/unit starts no process; one that does belongs to another tier")


class TierPlugin:
    """What pytest calls."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tally = Tally()
        self._cpu_s = _cpu_s()
        sys.addaudithook(_no_process_in_unit_tests)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        global _running  # noqa: PLW0603 - an audit hook is for the process
        _running = tier_of(item.nodeid)
        try:
            return (yield)
        finally:
            _running = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: Any = yield
        now_s = _cpu_s()
        report.cpu_s, self._cpu_s = now_s - self._cpu_s, now_s  # workers of xdist send it along
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tally.add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._config.getoption("--budgets") and not hasattr(self._config, "workerinput") and self._tally.over_budget():
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._config.getoption("--budgets"):
            terminalreporter.section("tiers")
            for line in [*self._tally.lines(), *self._tally.over_budget()]:
                terminalreporter.line(line)
            self._tally.write(TIMES)


def _cpu_s() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budgets", action="store_true", help="print what each tier took, and fail where one is over its budget")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TierPlugin(config), "tiers")
