"""Pages about delivery say what the code does: the sample destination fits, options, receipts and limits are those of the code."""

from __future__ import annotations

import re

import click
import yaml

from cli.deliver import deliver
from cli.reconcile import reconcile
from cli.status import status
from contracts.spec.project import Project
from lake.receipts.receipts import MERGE_AT, MERGED_BYTES, SCHEMA
from lake.receipts.state import SILENT_S
from pipelines.deliver.run import _GIVE_UP_S
from tests.graph.docs.test_docs import GUIDES, REFERENCE, ROOT, WEBSHOP, keys_of, table_of
from transforms.deliver.dispatcher import _LANE_BYTES, _READER_BYTES
from transforms.deliver.table import SPAN_BITS

GUIDE = GUIDES / "delivery.md"
_FLAG = re.compile(r"`(--[a-z][a-z-]*)")


def test_the_sample_destination_fits_its_contract_and_the_page_shows_a_part_of_it() -> None:
    destination, contract = Project.load(WEBSHOP).destination("cdp")
    assert (destination.name, contract.name) == ("cdp", "customer_event")
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)[0])
    whole = yaml.safe_load((WEBSHOP / "destinations" / "cdp.yaml").read_text("utf-8"))
    columns, others = shown.pop("columns"), {**whole}
    assert shown == {key: others[key] for key in shown}
    for name, places in columns.items():
        there = whole["columns"][name]
        assert places == there or all(place in there for place in places)


def test_options_that_the_page_names_exist() -> None:
    named = set(_FLAG.findall(GUIDE.read_text("utf-8")))
    there = {option for command in (deliver, reconcile, status) for option in options_of(command)}
    of_others = {"--reveal", "--immediate", "--workers"}
    assert named - of_others <= there and len(named) > 8


def options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


def test_columns_of_receipts_are_those_of_the_files() -> None:
    assert [row[0].strip("`") for row in table_of(REFERENCE / "lake.md", "Deliveries", 1)] == SCHEMA.names
    assert "state/<run_id>-<reader>.json" in keys_of(REFERENCE / "lake.md", "Deliveries")


def test_numbers_of_the_pages_are_those_of_the_code() -> None:
    guide, lake = GUIDE.read_text("utf-8"), (REFERENCE / "lake.md").read_text("utf-8").split("## Deliveries")[1]
    assert f"up to {_LANE_BYTES >> 20} MB a lane and {_READER_BYTES >> 20} MB a worker" in guide
    assert f"gives up after {_GIVE_UP_S // 60} minutes" in guide
    assert f"no sign for {SILENT_S:.0f} s" in guide
    assert f"span × 2^{SPAN_BITS}" in lake
    assert f"{MERGE_AT} small" in lake and f"up to {MERGED_BYTES >> 20} MB" in lake


def test_every_test_that_the_page_names_is_there() -> None:
    commands = re.findall(r"`python -m pytest ([^`]+)`", GUIDE.read_text("utf-8"))
    paths = [word for command in commands for word in command.split() if word.startswith("tests/")]
    assert len(paths) >= 6
    assert [path for path in paths if not (ROOT / path).exists()] == []
