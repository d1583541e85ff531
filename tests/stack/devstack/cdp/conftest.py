"""One endpoint for the tests of a file; each finds it empty and without faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cdp import CdpEndpoint


@pytest.fixture(scope="module")
def _endpoint() -> Iterator[CdpEndpoint]:
    with CdpEndpoint.started(write_keys=["shop=shop-key"]) as cdp:
        yield cdp


@pytest.fixture
def cdp(_endpoint: CdpEndpoint) -> CdpEndpoint:
    _endpoint.faults()
    _endpoint.clear()
    return _endpoint
