"""Runbooks: each failure is made, and the commands of its page end it, block by block, as they stand there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.graph.docs.not_run import NOT_RUN
from tests.support.cdp import CdpEndpoint
from tests.support.gated import GatedShop, held_hours, public_ids
from tests.support.pages import DOCS, ROOT, blocks_of, run
from tests.support.shop import WEBSHOP, Shop, event

RUNBOOKS = DOCS / "runbooks"
OF_STREAMS = ROOT / "tests" / "stack" / "docs" / "test_runbooks_of_streams.py"
HEADINGS = ("**Symptom.**", "**Impact.**", "**First look.**", "**Decision.**", "**Commands.**", "**It is over**")
LINES = [event(n, 8 + n % 4) for n in range(120)]
MOVED = [event(n, 8 + n % 4).replace('"type":', '"eventType":') for n in range(120, 240)]
Give = Callable[..., list[str]]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    made.ingest(LINES)
    return made


@pytest.fixture
def give(shop: Shop, environment: dict[str, str]) -> Give:
    """Gives the commands of a page in the shop's folder; what each block printed."""
    return giving(shop, environment)


def giving(shop: Shop, environment: dict[str, str]) -> Give:
    """As ``give``, for a shop of the test's own."""

    def commands(page: str, **more: str) -> list[str]:
        blocks = [block.text for block in blocks_of(RUNBOOKS / f"{page}.md") if block.is_shell]
        return [run(block, shop.folder, {**environment, **more}) for block in blocks]

    return commands


def promoted(shop: Shop, name: str, **spec: object) -> None:
    """A replay with another spec, published."""
    shop.write_spec({**shop.spec, **spec})
    shop.run(name, 0, 24)
    shop.promote(name)


@pytest.mark.parametrize("page", sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "index"))
def test_a_runbook_has_all_parts_and_a_test_gives_its_commands(page: str) -> None:
    text = (RUNBOOKS / f"{page}.md").read_text("utf-8")
    places = [text.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert f"({page}.md)" in (RUNBOOKS / "index.md").read_text("utf-8")
    assert any(f'give("{page}"' in file.read_text("utf-8") for file in (Path(__file__), OF_STREAMS))
    assert (f"docs/runbooks/{page}.md", "*") in NOT_RUN


def test_a_refused_partition_is_published_when_the_spec_has_followed(shop: Shop, give: Give) -> None:
    assert shop.ingest(MOVED, max_rejected=0.1).exit_code == 1
    assert shop.state()[0] == 120
    looked, _, over = give("ingest")
    assert "eventType" in looked or "type" in looked
    assert shop.state()[0] == 240
    assert shop.ledger().dead_letter == 0
    assert "promoted" in over


def test_a_data_file_that_is_gone_comes_back_from_raw(shop: Shop, give: Give) -> None:
    before = shop.state()
    file = next((shop.folder / "lake" / "warehouse").rglob("customer_event/data/**/*.parquet"))
    file.unlink()
    looked, _, _ = give("ledger")
    assert file.name in looked or "missing" in looked
    assert shop.state() == before


def test_a_lost_catalog_is_made_again(shop: Shop, give: Give) -> None:
    before = shop.state()
    for file in (shop.folder / "lake").glob("catalog.db*"):
        file.unlink()
    give("catalog")
    assert shop.state() == before


def test_a_day_that_a_wrong_rule_published_is_rebuilt(shop: Shop, give: Give) -> None:
    right = shop.state()
    promoted(shop, "wrong", filter=[{"path": "type", "in": ["page"]}])
    assert shop.state()[0] == 0
    shop.write_spec(shop.spec)
    printed = give("backfill")
    assert shop.state() == right
    assert (shop.folder / "mend-day.html").is_file()
    assert "nothing differs" in printed[-1]


def test_a_replay_that_was_killed_goes_on(shop: Shop, give: Give, environment: dict[str, str]) -> None:
    right = shop.state()
    span = ("--start", "2026-11-02T00:00:00Z", "--end", "2026-11-03T00:00:00Z")
    command = [sys.executable, "-m", "cli.main", "replay", "run", "mend-day", "--dataset", "customer_event", *span]
    process = subprocess.Popen(command, cwd=shop.folder, env={**environment, "PYTHONPATH": os.getcwd()}, stderr=subprocess.DEVNULL)
    folder = shop.folder / "lake" / "_replays"
    while process.poll() is None and not list(folder.glob("*.json")):
        pass
    process.kill()
    process.wait()
    assert json.loads(next(folder.glob("*1.json")).read_text())["step"] == "begun"
    looked, _, over = give("replay")
    assert "begun" in looked and "promoted" in over
    assert shop.state() == right


def test_a_promotion_that_was_a_mistake_is_taken_back(shop: Shop, give: Give) -> None:
    right = shop.state()
    promoted(shop, "mend-day", filter=[{"path": "type", "in": ["page"]}])
    assert shop.state()[0] == 0
    give("rollback")
    assert shop.state() == right


def test_what_waited_for_an_endpoint_is_delivered_once_it_is_back(shop: Shop, give: Give, environment: dict[str, str]) -> None:
    shutil.copytree(WEBSHOP / "destinations", shop.folder / "destinations")
    consent = {"context": {"consent": {"categoryPreferences": {"analytics": True}}}}
    spec = {**shop.spec, "columns": {**shop.spec["columns"], "consent": "context.consent.categoryPreferences"}}
    shop.write_spec(spec)
    shop.ingest([event(1_000 + n, 8, **consent) for n in range(30)])
    with CdpEndpoint.started() as cdp:
        port = cdp.url.rpartition(":")[2]
    down = {"CDP_URL": f"http://localhost:{port}", "CDP_WRITE_KEY": "dev-write-key"}
    span = "--start 2026-11-02T00:00:00Z --end 2026-11-03T00:00:00Z"
    failed = run(f"headrace deliver cdp {span} --give-up-after 2s || echo ended with $?", shop.folder, {**environment, **down})
    assert "ended with 3" in failed
    with CdpEndpoint.started(port=int(port)) as cdp:
        looked, _, over = give("deliver", **down)
        assert "down" in looked
        assert len(cdp.ledger()) == 30
    assert "missing" in over


def test_what_is_deployed_otherwise_is_told_and_mended(shop: Shop, give: Give) -> None:
    with (shop.folder / "headrace.yaml").open("a") as file:
        file.write("schedules: {name: shop, start: 2026-11-01, sources: {web: {input: drop}}, drift: day}\n")
    assert shop.headrace("airflow", "build").exit_code == 0
    text = (shop.folder / "headrace.yaml").read_text()
    (shop.folder / "headrace.yaml").write_text(text.replace("drift: day", "drift: hour"))
    looked, _, over = give("drift")
    assert "DAG shop.drift" in looked and "ended with 1" in looked and "headrace airflow build" in looked
    assert "no difference" in over


@pytest.mark.parametrize("severity", ["stop", pytest.param("quarantine", marks=pytest.mark.long)])
def test_what_a_gate_holds_is_published_once_somebody_accepts_it(
    severity: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    rule = {"metric": "nullValues", "mustBe": 0, "severity": severity}
    shop = GatedShop(tmp_path / "shop", {"page_url": [rule]})
    page = {"context": {"page": {"url": "https://shop.example/"}}}
    lines = [event(n, 8 + n % 3, **({} if n % 3 == 1 else page)) for n in range(30)]
    assert shop.take("hours.jsonl", lines).exit_code == 1
    seen = {"quarantine": [8, 10], "stop": [8]}[severity]
    assert public_ids(shop.lake()) == sorted(f"m-{n}" for n in range(30) if 8 + n % 3 in seen)
    assert held_hours(shop.lake()) == [9]
    give = giving(shop, environment)
    looked, _, _ = give("gate")
    assert "page_url" in looked or "nullValues" in looked
    assert public_ids(shop.lake()) == sorted(f"m-{n}" for n in range(30))
    assert not held_hours(shop.lake())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; skips where it cannot be made."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no permission to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(small_disk: Path, environment: dict[str, str]) -> None:
    shop = Shop(small_disk / "shop")
    shop.ingest(LINES)
    before = shop.state()
    more = shop.write_lines("more.jsonl", [event(n, 8 + n % 4) for n in range(1_000, 1_400)])
    filler = small_disk / "filler"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(handle, b"x" * 4_096):
            pass
    os.close(handle)
    failed = run(f"headrace ingest web --input {more} || echo ended with $?", shop.folder, environment)
    assert "ended with 3" in failed and "No space left" in failed
    filler.unlink()
    assert shop.state() == before

    give = giving(shop, environment)
    give("disk-full")
    assert shop.state()[0] == before[0] + 400
