"""``make demo-airflow``: hours of the webshop in a real Airflow: ingests, an hour that the gate holds, its repair, delivery.

A project of its own is made below ``.cache``; everything in it is what a user would write. Prints what happened; opens nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
import zstandard

from cli.console import stdout, table
from contracts.spec.project import BUILT_IN_DATASETS
from devstack import airflow
from devstack.airflow_api import ENDED, AirflowApi, wait_until
from devstack.cdp.component import WRITE_KEY
from devstack.layout import Layout, Settings
from devstack.stack import Stack
from examples.webshop.generate import main as generate

HERE = Path(__file__).parent
FIRST_HOUR, HOURS = 17, 3  # when the shop is busy
POISONED = 1  # of them
_RULE = {"metric": "nullValues", "unit": "percent", "mustBeLessOrEqualTo": 20, "severity": "quarantine"}
_SCHEDULES = """\
  start: {start}
  sources:
    web: {{input: drop/web/%Y-%m-%d/%H, catchup: false, missing: skip, retries: 1}}
  destinations:
    cdp: {{lookback: 2d, retries: 1}}
  backfill: {{size: 1K, windows: 1}}
"""
FOLLOWING = ("webshop.deliver.cdp", "webshop.page_views")  # on each change of the dataset
CONTRACT = "customer_event.v1.yaml"
_WITHIN_S = 600.0


def main() -> int:
    """Run the demo; 1 where a step does not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".cache") / "demo-airflow", help="project, data and lake; made anew")
    parser.add_argument("--records", type=int, default=3_000, help="size of the sample")
    options = parser.parse_args()
    began = time.monotonic()
    shutil.rmtree(options.folder, ignore_errors=True)
    day = datetime.now(UTC).date() - timedelta(days=1)
    project = make_project(options.folder.absolute() / "webshop", day.isoformat(), options.records)
    os.environ |= {"CDP_WRITE_KEY": WRITE_KEY, "WEBSHOP_PYTHON": sys.executable}
    stack = Stack(Layout.default(), Settings(ports=Settings().ports.changed(os.environ, {})))
    os.environ["CDP_URL"] = stack.cdp_endpoint
    headrace("stack", "up", "--only", "airflow,cdp")
    try:
        day_of_the_webshop(AirflowApi(stack.airflow_address), stack, project, day.isoformat())
    finally:
        headrace("stack", "down")
    stdout.print(f"\n{time.monotonic() - began:.0f} s; the project is {project}")
    return 0


def make_project(folder: Path, day: str, records: int) -> Path:
    """A project with three hours of a day in its drop folder, of which one is poisoned, and a gate."""
    for each in ("sources", "destinations", "dags"):
        shutil.copytree(HERE / each, folder / each)
    (folder / "datasets").mkdir()
    (folder / "datasets" / CONTRACT).write_text(gated_contract(), "utf-8")
    settings = "lake: lake\ndatasets: [datasets]\nschedules:\n  name: webshop\n" + _SCHEDULES.format(start=day)
    (folder / "headrace.yaml").write_text(settings, "utf-8")
    sample = folder / "sample"
    generate(["--output", str(sample), "--records", str(records), "--start", day, "--days", "1"])
    by_hour: dict[int, list[str]] = defaultdict(list)
    for line in _lines(sample / "web"):
        by_hour[_hour(line)].append(line)
    for number, hour in enumerate(range(FIRST_HOUR, FIRST_HOUR + HOURS)):
        place = folder / "drop" / "web" / day / f"{hour:02}" / "events.jsonl"
        place.parent.mkdir(parents=True)
        lines = [poisoned(line) if number == POISONED else line for line in by_hour[hour]]
        place.write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def gated_contract() -> str:
    """The shipped contract with a rule that gives its dataset a gate: an hour in which too few events tell their page is held."""
    document = yaml.safe_load((BUILT_IN_DATASETS / CONTRACT).read_text("utf-8"))
    (column,) = (one for one in document["schema"][0]["properties"] if one["name"] == "page_url")
    column["quality"] = [_RULE]
    return yaml.safe_dump(document, sort_keys=False)


def poisoned(line: str) -> str:
    """An event as a new version of the shop's script sends it: the page's address stands elsewhere, where nobody looks."""
    return line.replace('"url":', '"href":', 1)


def _hour(line: str) -> int:
    """When an event was received; 0 of one that does not say."""
    found = re.search(r'"receivedAt": ?"[0-9-]{10}T([0-9]{2})', line)
    return int(found[1]) if found else 0


def _lines(folder: Path) -> Iterator[str]:
    """The events of the sample that are whole."""
    for path in sorted(folder.glob("events-0*")):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        yield from (line for line in data.decode("utf-8", "ignore").splitlines() if line.startswith("{") and '"type":' in line)


def day_of_the_webshop(api: AirflowApi, stack: Stack, project: Path, day: str) -> None:
    """The story."""
    build(project, stack)
    own = airflow.dags_folder(stack.layout) / "own.py"
    own.unlink(missing_ok=True)
    own.symlink_to(project / "dags" / "page_views.py")
    names = {"webshop.ingest.web", "webshop.backfill.customer_event", *FOLLOWING}
    stdout.print("waiting until Airflow has read the DAGs …")
    wait_until(lambda: names <= api.dag_ids(), {True}, _WITHIN_S)
    api.make_pools(json.loads((airflow.dags_folder(stack.layout) / "webshop" / "pools.json").read_text("utf-8")))
    for name in names:
        api.unpause(name)

    stdout.print(f"\n1. three hours of {day}: airflow backfill create --dag-id webshop.ingest.web", style="bold")
    hours = [f"{day}T{FIRST_HOUR + number:02}:00:00Z" for number in range(HOURS)]
    api.backfill("webshop.ingest.web", hours[0], hours[-1])
    ingests = ended(api, "webshop.ingest.web", "backfill", HOURS)
    show(api, "webshop.ingest.web", ingests)
    expect([run["state"] for run in ingests], ["success", "failed", "success"])
    stdout.print("   the hour between is landed and held by the gate: readers see nothing of it, and the others are published")
    headrace("quality", "status", "customer_event", "--project", str(project))

    stdout.print(
        "\n2. the source learns where the address stands, and the day is rebuilt: webshop.backfill.customer_event", style="bold"
    )
    mend(project)
    build(project, stack)
    api.backfill("webshop.backfill.customer_event", f"{day}T00:00:00Z", f"{day}T00:00:00Z")
    (question,) = wait_until_some(api.waiting)
    stdout.print(f"   asked: {question['subject']}: {question['body']}")
    for name in FOLLOWING:  # a change that comes while they run is theirs, and starts no run of its own
        ended(api, name, "asset_triggered", 1)
    api.answer(question, "Approve", reason="the address of pages stood elsewhere")
    rebuilt = ended(api, "webshop.backfill.customer_event", "backfill", 1)
    show(api, "webshop.backfill.customer_event", rebuilt)
    expect([run["state"] for run in rebuilt], ["success"])

    stdout.print("\n3. what changed was delivered and counted, by events of the dataset", style="bold")
    wait_until(lambda: followed(api), {True}, _WITHIN_S)
    for name in FOLLOWING:
        show(api, name, ended(api, name, "asset_triggered", 2))
    for event in api.events():
        found = event["extra"]
        stdout.print(f"   {event['uri']}: {found.get('start')} to {found.get('end')} by {event['source_task_id']}")

    stdout.print("\n4. and is reconciled", style="bold")
    end = datetime.fromisoformat(day) + timedelta(days=1)
    span = ("--start", f"{day}T00:00:00Z", "--end", f"{end.date().isoformat()}T00:00:00Z")
    headrace("reconcile", "cdp", *span, "--project", str(project), code=0)
    headrace("replay", "list", "--project", str(project), code=0)
    headrace("lake", "files", "--verify", "--project", str(project), code=0)

    stdout.print("\n5. a DAG of one's own, dags/page_views.py of the project, has counted it", style="bold")
    stdout.print((project / "summaries" / "page_views" / f"{day}.json").read_text("utf-8"), soft_wrap=True)


def build(project: Path, stack: Stack) -> None:
    """The description into Airflow's folder."""
    headrace("airflow", "build", "--project", str(project), "--out", str(airflow.dags_folder(stack.layout) / "webshop"))


def mend(project: Path) -> None:
    """Read the address of a page from either place."""
    path = project / "sources" / "web.yaml"
    document = yaml.safe_load(path.read_text("utf-8"))
    document["columns"]["page_url"] = ["context.page.url", "context.page.href"]
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")


def ended(api: AirflowApi, dag_id: str, kind: str, number: int) -> list[dict[str, Any]]:
    """Runs of a kind, when so many have ended and none runs."""

    def over() -> bool:
        runs = [run for run in api.runs(dag_id) if run["run_type"] == kind]
        return len(runs) >= number and all(run["state"] in ENDED for run in runs)

    wait_until(over, {True}, _WITHIN_S)
    return [run for run in api.runs(dag_id) if run["run_type"] == kind]


def followed(api: AirflowApi) -> bool:
    """Whether the runs that the last change of the dataset has started have ended."""
    changed = [event["timestamp"] for event in api.events() if "/validated/" in event["uri"]][-1]
    last = [api.runs(name)[-1] for name in FOLLOWING]
    return all(run["run_after"] >= changed and run["state"] in ENDED for run in last)


def wait_until_some(asked: Any) -> list[Any]:
    """The answer, once it is not empty."""
    wait_until(lambda: bool(asked()), {True}, _WITHIN_S)
    found: list[Any] = asked()
    return found


def show(api: AirflowApi, dag_id: str, runs: list[dict[str, Any]]) -> None:
    """Runs and their tasks."""
    rows = []
    for run in runs:
        tasks = ", ".join(f"{name} {state}" for name, state in api.states(dag_id, run["dag_run_id"]).items())
        rows.append((run["data_interval_start"] or run["dag_run_id"][:34], run["state"], tasks))
    stdout.print(table(("interval", "run", "tasks"), rows))


def expect(found: list[str], wanted: list[str]) -> None:
    """End the demo where it went otherwise."""
    if found != wanted:
        raise SystemExit(f"the runs ended {', '.join(found)}, expected {', '.join(wanted)}; look at the tasks' logs in Airflow")


def headrace(*arguments: str, code: int | None = None) -> None:
    """A command as a user gives it, printed. code: with which it has to end, if that matters."""
    stdout.print(f"$ headrace {' '.join(arguments)}", style="dim")
    found = subprocess.run([sys.executable, "-m", "cli.main", *arguments], check=False).returncode
    if code is not None and found != code:
        raise SystemExit(f"headrace {arguments[0]} ended with exit code {found}, expected {code}")


if __name__ == "__main__":
    sys.exit(main())
