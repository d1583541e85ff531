"""``headrace stack``: a local Kafka and Flink for development and tests."""

from __future__ import annotations

import os
import time

import click

from cli.console import fail, json_option, plain_errors, print_json, stderr, stdout, table
from contracts.errors import ConfigurationError
from devstack import airflow, s3
from devstack.cdp.component import WRITE_KEY
from devstack.gcs import BUCKET
from devstack.layout import Layout, Settings
from devstack.stack import EXTRA, GROUPS, READY_DEADLINE_S, USUAL, Stack, Status

_MB = 1 << 20


@click.group()
def stack() -> None:
    """A local Kafka and Flink for development and tests: start, look, stop."""


@stack.command("up", epilog="\b\nExample:\n  headrace stack up --only kafka,flink --slots 4")
@click.option(
    "--only", metavar="NAMES", multiple=True, help=f"Some of {','.join(GROUPS)}; else all but those of --with. May be repeated."
)
@click.option(
    "--with",
    "extra",
    metavar="NAMES",
    multiple=True,
    help=f"Also these: {','.join(EXTRA)} (an emulator of Google Cloud Storage, a CDP endpoint, a schema registry, "
    "a stand-in for S3 in memory, Airflow). May be repeated.",
)
@click.option("--taskmanagers", type=click.IntRange(1), help="How many; more of them may come while it runs.  [default: 1]")
@click.option("--slots", type=click.IntRange(1), help="Task slots of each TaskManager.  [default: 2]")
@click.option("--taskmanager-memory", metavar="SIZE", help="Of each TaskManager, its Python workers not included.  [default: 4g]")
@click.option("--port", "ports", metavar="NAME=NUMBER", multiple=True, help="Another port, such as kafka=29192. May be repeated.")
@json_option
@plain_errors
def up(
    only: tuple[str, ...],
    extra: tuple[str, ...],
    taskmanagers: int | None,
    slots: int | None,
    taskmanager_memory: str | None,
    ports: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fetch what is missing, start what does not run, and wait until all of it serves."""
    began = time.monotonic()
    names = (*(_names(only) if only else USUAL), *_names(extra))
    layout = Layout.default()
    now = Stack(layout).settings  # what is not given stays as it runs
    taskmanagers = taskmanagers or now.taskmanagers
    settings = Settings(
        ports=now.ports.changed(os.environ, _ports(ports), taskmanagers),
        taskmanagers=taskmanagers,
        slots=slots or now.slots,
        taskmanager_memory=taskmanager_memory or now.taskmanager_memory,
    )
    it = Stack(layout, settings, report=stderr.print)
    found = it.up(names, deadline_s=airflow.DEADLINE_S if "airflow" in names else READY_DEADLINE_S)
    if as_json:
        print_json(_document(it, found))
        return
    _show(found)
    stdout.print(f"up after {time.monotonic() - began:.0f} s")
    running = {one.component for one in found}
    for name, value in _addresses(it).items():
        component = name.partition("_")[0]
        if component not in EXTRA or component in running:
            stdout.print(f"{name.replace('_', ' '):16} {value}")
    if "gcs" in running:
        stdout.print(f"export STORAGE_EMULATOR_HOST={it.gcs_emulator}  # bucket gs://{BUCKET}", highlight=False, soft_wrap=True)
    if "s3" in running:
        exports = " ".join(f"{name}={value}" for name, value in s3.variables(it.s3_emulator).items())
        stdout.print(f"export {exports}  # bucket s3://{s3.BUCKET}, in memory", highlight=False, soft_wrap=True)
    if airflow.API in running:
        stdout.print(f"Airflow {it.airflow_address}; its DAGs: headrace airflow build --out {airflow.dags_folder(layout)}/NAME")
    if "cdp" in running:
        where = f"CDP endpoint {it.cdp_endpoint}, write key {WRITE_KEY}; its page is at the same address"
        stdout.print(where, highlight=False, soft_wrap=True)


@stack.command("down", epilog="\b\nExample:\n  headrace stack down --purge-data")
@click.option("--purge-data", is_flag=True, help="Also delete topics, checkpoints, savepoints and logs. Downloads stay.")
@json_option
@plain_errors
def down(purge_data: bool, as_json: bool) -> None:
    """Stop everything that the stack has started, Python workers included. Data stay."""
    stopped = Stack(Layout.default(), report=stderr.print).down(purge_data=purge_data)
    if as_json:
        print_json({"stopped": stopped, "data_purged": purge_data})
        return
    stdout.print((f"stopped: {', '.join(stopped)}" if stopped else "nothing ran") + ("; data deleted" if purge_data else ""))


@stack.command("status", epilog="\b\nExample:\n  headrace stack status --json")
@json_option
@plain_errors
def status(as_json: bool) -> None:
    """What was started, and how it is. Exit 0 if all of it serves, else 3."""
    it = Stack(Layout.default())
    found = it.status()
    if as_json:
        print_json(_document(it, found))
    elif found:
        _show(found)
        stdout.print(f"{len(it.worker_pids())} Python workers")
    down_now = [f"{one.component} is {one.state}" for one in found if one.state != "ready"]
    if down_now:
        fail(f"{', '.join(down_now)}; headrace stack up starts what does not run", 3)
    if not found:
        fail("nothing was started; headrace stack up starts it", 3)


def _show(found: list[Status]) -> None:
    columns = ("component", "state", "pid", "url", "resident MB", "log")
    rows = [(s.component, s.state, str(s.pid or ""), s.url, s.resident_bytes // _MB, s.log) for s in found]
    stdout.print(table(columns, rows))


def _document(it: Stack, found: list[Status]) -> dict[str, object]:
    return {"components": found, "workers": it.worker_pids(), **_addresses(it)}


def _addresses(it: Stack) -> dict[str, str]:
    return {
        "kafka_bootstrap": it.kafka_bootstrap,
        "flink_rest": it.flink_rest,
        "flink_conf_dir": str(it.flink_conf_dir),
        "job_server_jar": str(it.job_server_jar),
        "prism": str(it.prism),
        "worker_command": str(it.worker_command),
        "checkpoints_dir": str(it.checkpoints_dir),
        "savepoints_dir": str(it.savepoints_dir),
        "gcs_emulator": it.gcs_emulator,
        "s3_emulator": it.s3_emulator,
        "cdp_endpoint": it.cdp_endpoint,
        "cdp_write_key": WRITE_KEY,
        "registry_url": it.registry_url,
        "airflow_address": it.airflow_address,
        "airflow_dags": str(airflow.dags_folder(it.layout)),
    }


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for text in given if text for name in text.split(","))


def _ports(given: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise ConfigurationError(f"--port {text}: expected NAME=NUMBER, such as kafka=29192")
        found[name.strip()] = int(number)
    return found
