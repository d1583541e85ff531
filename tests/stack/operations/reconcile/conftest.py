"""One project and one endpoint for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cdp import CdpEndpoint
from tests.support.planted import Plant, Plot


@pytest.fixture(scope="session")
def plot(tmp_path_factory: pytest.TempPathFactory) -> Plot:
    """For tests that only read its rows."""
    return Plot(tmp_path_factory.mktemp("plot") / "project")


@pytest.fixture(scope="session")
def growing_plot(tmp_path_factory: pytest.TempPathFactory) -> Plot:
    """For tests that add rows, also several of one id."""
    return Plot(tmp_path_factory.mktemp("plot") / "project", "{horizon: none}")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[CdpEndpoint]:
    with CdpEndpoint.started() as cdp:
        yield cdp


@pytest.fixture
def cdp(endpoint: CdpEndpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[CdpEndpoint]:
    """Empty, and without faults."""
    monkeypatch.setenv("PLANTED_KEY", endpoint.write_key)
    endpoint.clear()
    yield endpoint
    endpoint.faults()


@pytest.fixture
def plant(plot: Plot, cdp: CdpEndpoint, request: pytest.FixtureRequest) -> Plant:
    """A destination of the test's own."""
    return Plant(plot, cdp, _name(request))


@pytest.fixture
def growing(growing_plot: Plot, cdp: CdpEndpoint, request: pytest.FixtureRequest) -> Plant:
    """The same, and more rows may come."""
    return Plant(growing_plot, cdp, _name(request))


def _name(request: pytest.FixtureRequest) -> str:
    return "d-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:100]
