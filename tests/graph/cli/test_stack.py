"""``headrace stack up``: which components it asks for."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from click.testing import CliRunner

from cli.main import main
from contracts.errors import ConfigurationError
from devstack.stack import USUAL, Stack


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), USUAL),
        (("--with", "gcs,cdp"), (*USUAL, "gcs", "cdp")),
        (("--with", "registry"), (*USUAL, "registry")),
        (("--with", "gcs", "--with", "cdp"), (*USUAL, "gcs", "cdp")),
        (("--only", "kafka", "--only", "prism, flink", "--with", "cdp"), ("kafka", "prism", "flink", "cdp")),
    ],
)
def test_names_of_components_accumulate(options: tuple[str, ...], asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Collection[str]] = []

    def up(_: Stack, only: Collection[str], deadline_s: float) -> None:
        seen.append(only)
        raise ConfigurationError("enough")

    monkeypatch.setattr(Stack, "up", up)
    assert CliRunner().invoke(main, ["stack", "up", *options]).exit_code == 2
    assert seen == [asked]
