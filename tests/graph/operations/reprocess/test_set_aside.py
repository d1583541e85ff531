"""Letters that cannot be read again are set aside with the reason, and keep no other from being read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import operations.reprocess.run as module
from contracts.errors import ConfigurationError
from lake.location import Lake
from operations.check.check import check_lake
from operations.deadletters.selection import LetterSelection
from operations.reprocess.letters import ChosenLetters, FileLetters, chosen_letters
from tests.support.repairs import open_letters, run, write_recipe
from tests.support.shop import Shop, event


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path / "shop")
    write_recipe(made.folder, "page", steps=[{"map": {"path": "type", "values": {"nothing": "page"}}}])
    made.ingest([event(1, 8, type="nothing"), event(2, 8, type="nothing"), event(3, 8)])
    return made


def test_an_old_letter_of_another_dataset_sets_no_other_of_its_log_aside(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(lake: Lake, selection: LetterSelection, **options: object) -> ChosenLetters:
        found = chosen_letters(lake, selection, **options)  # type: ignore[arg-type]
        (file,) = found.files
        place = file.rows.schema.get_field_index("dataset")
        names = pa.array([*file.column("dataset")[:-1], "old_dataset"]).dictionary_encode()
        return ChosenLetters((FileLetters(file.source, file.raw_file, file.rows.set_column(place, "dataset", names)),), {})

    monkeypatch.setattr(module, "chosen_letters", chosen)
    report = run(shop.project, shop.lake(), recipe=shop.project.recipe("page"))
    assert (report.selected, report.count("recovered")) == (1, 1)
    assert list(report.aside.values()) == [1] and "of another dataset than customer_event" in next(iter(report.aside))
    assert open_letters(shop.lake()) == [("not_in_enum", 1)]


@pytest.mark.parametrize("what", ["data", "index"])
def test_a_raw_file_that_is_gone_sets_its_own_letters_aside(what: str, shop: Shop) -> None:
    shop.ingest([event(11, 8, type="nothing"), event(12, 8)])
    raw = sorted(path for path in (shop.folder / "lake" / "raw").rglob("*") if path.is_file())
    index = next(path for path in raw if "_index" in path.parts and json.loads(path.read_text())["records"] == 3)
    victim = index if what == "index" else shop.folder / "lake" / json.loads(index.read_text())["path"]
    victim.rename(victim.with_suffix(".gone"))
    report = run(shop.project, shop.lake(), recipe=shop.project.recipe("page"))
    assert (report.selected, report.count("recovered"), report.exit_code) == (1, 1, 1)
    assert list(report.aside.values()) == [2] and "not in raw/" in report.reasons[0] and "2 letters" in report.reasons[0]
    assert open_letters(shop.lake()) == [("not_in_enum", 1)] * 2
    victim.with_suffix(".gone").rename(victim)
    again = run(shop.project, shop.lake(), recipe=shop.project.recipe("page"))
    assert (again.count("recovered"), again.exit_code) == (2, 0) and not open_letters(shop.lake())


@pytest.mark.parametrize("names", [{"sources": ["wbe"]}, {"datasets": ["customer_evnt"]}])
def test_a_name_that_nobody_knows_is_refused(names: dict[str, list[str]], shop: Shop) -> None:
    with pytest.raises(ConfigurationError, match="neither the project nor a dead letter is of it"):
        run(shop.project, shop.lake(), recipe=None, **names)


def test_a_source_that_cannot_be_loaded_is_a_reason_and_nothing_left_to_do_is_none(shop: Shop) -> None:
    spec = shop.folder / "sources" / "web.yaml"
    text = spec.read_text()
    spec.write_text("name: [")
    broken = run(shop.project, shop.lake(), recipe=None)
    assert (broken.selected, broken.exit_code, list(broken.aside.values())) == (0, 1, [2]) and "web" in broken.reasons[0]
    spec.write_text(text)
    assert run(shop.project, shop.lake(), recipe=shop.project.recipe("page")).exit_code == 0
    done = run(shop.project, shop.lake(), recipe=shop.project.recipe("page"))
    assert (done.selected, done.exit_code) == (0, 0), "it was done before"


def test_lake_check_tells_of_repairs_that_cannot_be_read(shop: Shop) -> None:
    run(shop.project, shop.lake(), recipe=shop.project.recipe("page"))
    checked = check_lake(shop.lake(), shop.project)
    assert checked.sound and checked.looked_at["sources with repairs"] == 1
    (kept,) = (shop.folder / "lake" / "repairs").rglob("*.json")
    kept.write_bytes(kept.read_bytes()[:40])
    checked = check_lake(shop.lake(), shop.project)
    assert [(finding.part, str(finding.state)) for finding in checked.findings] == [("repairs", "changed")]
    assert not checked.sound
