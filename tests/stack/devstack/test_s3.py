"""The stand-in for S3 as a component of the stack."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from cli.main import main
from devstack.s3 import BUCKET, variables
from devstack.stack import Stack
from lake.storage import storage_of


def test_up_says_how_clients_find_it_and_it_keeps_conditions(private_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, port = private_stack.layout, private_stack.settings.ports.s3
    monkeypatch.setenv("HEADRACE_STACK_HOME", str(layout.home))
    monkeypatch.setenv("HEADRACE_STACK_DOWNLOADS", str(layout.downloads))
    monkeypatch.setenv("HEADRACE_STACK_PORT_S3", str(port))
    up = CliRunner().invoke(main, ["stack", "up", "--only", "s3"], catch_exceptions=False)
    assert up.exit_code == 0, up.stderr
    told = up.stdout.splitlines()[-1]
    assert told.startswith("export ") and told.endswith(f"  # bucket s3://{BUCKET}, in memory")
    exported = dict(each.split("=", 1) for each in told.partition("  #")[0].removeprefix("export ").split())
    assert exported == variables(private_stack.s3_emulator)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    storage = storage_of(f"s3://{BUCKET}")
    assert storage.put_if_absent(f"s3://{BUCKET}/a/x", b"one")
    assert not storage.put_if_absent(f"s3://{BUCKET}/a/x", b"two")
    storage.check_conditions(f"s3://{BUCKET}/a/x")
    again = CliRunner().invoke(main, ["stack", "up", "--only", "s3"], catch_exceptions=False)
    assert again.exit_code == 0
    assert storage.read(f"s3://{BUCKET}/a/x") == b"one", "the bucket stays as it is"
    down = CliRunner().invoke(main, ["stack", "down"], catch_exceptions=False)
    assert down.stdout == "stopped: s3\n"
