"""The catalogue: what is on the page, what is hidden, and that nobody's text gets out of its place."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest

from contracts.catalogue import entries
from contracts.catalogue.entries import MASK, gather
from contracts.catalogue.page import anchor, render
from contracts.evolution import impact
from contracts.spec.model import Column, ColumnType, Consumer, Contract, Deprecation, ServiceLevel
from contracts.spec.project import Project
from contracts.spec.source import SourceSpec
from contracts.spec.versions import Example
from tests.support.git_repository import Repository

ROOT = Path(__file__).parents[3]
_ORDER = (ROOT / "contracts" / "datasets" / "order.v1.yaml").read_text()
_SOURCE = (ROOT / "examples" / "webshop" / "sources" / "orders.yaml").read_text()
_PROJECT = "datasets: [datasets]\nconsumers: {order: [{name: revenue dashboard}]}\n"
_HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}\u202e\x07"
_ROW = {"order_id": "O-000000001", "customer_id": "c-77", "email": "ada@example.com", "status": "paid", "items": [{"sku": "a"}]}


class _Page(HTMLParser):
    """The elements of a page, and the text that can be read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._skipped = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._skipped = tag in ("script", "style")
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self._skipped = False
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skipped else data


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A shop with two versions of a contract; what contracts do not say in YAML here is put into the compiled one."""
    made = Repository(tmp_path / "shop")
    for path, text in (("headrace.yaml", _PROJECT), ("datasets/order.v1.yaml", _ORDER), ("sources/orders.yaml", _SOURCE)):
        made.commit(path, text)
    wider = _ORDER.replace("version: 1.0.0", "version: 1.1.0").replace("maxLength: 256", "maxLength: 512")
    (made.folder / "datasets/order.v1.yaml").write_text(wider)
    loaded, sourced = entries.load_contract, impact.load_source

    def contract(path: Path) -> Contract:
        found = loaded(path)
        if found.name != "order":
            return found
        told = {
            "total_amount": {"unit": "EUR"},
            "item_count": {"deprecated": Deprecation(date(2999, 1, 31), use="items")},
            "customer_id": {"identifier": "user", "purpose": ("billing",)},
        }
        columns = [replace(column, **told.get(column.name, {})) for column in found.columns]  # type: ignore[arg-type]
        hostile = Column(name=_HOSTILE, type=ColumnType.STRING, description=_HOSTILE)
        return replace(
            found,
            columns=(*columns, hostile),
            owner="shop-backend",
            service_levels=(ServiceLevel("freshness", 15, "minutes"),),
            consumers=(Consumer("churn model", ("customer_id",), "ml@example.com"),),
        )

    def source(path: Path) -> SourceSpec:
        return replace(sourced(path), examples=(Example(payload=_ROW, row=tuple(_ROW.items())),))

    monkeypatch.setattr(entries, "load_contract", contract)
    monkeypatch.setattr(impact, "load_source", source)
    return Project.load(made.folder)


@pytest.fixture
def page(project: Project) -> str:
    return render(gather(project, "Shop"))


def test_it_names_owner_promises_fields_and_who_reads_them(page: str) -> None:
    text = " ".join(_Page(page).text.split())
    for told in (
        "shop-backend",
        "freshness 15 minutes",
        "for 7 days",
        "decimal(12,2) at least 0",
        "in EUR",
        "identifies user",
        "for billing",
        "goes away after 2999-01-31; use items",
        "source orders fills it from customer_id",
        "consumer churn model reads it (ml@example.com)",
        "consumer revenue dashboard reads the dataset (headrace.yaml)",
        "where status is refunded, refunded_amount has a value",
        "customer_id is at most 512 characters, was at most 256 characters",
        "breaks consumers",
        "orders , avro, revision 1",
    ):
        assert told in text, told


def test_sample_rows_show_nothing_personal(project: Project, page: str) -> None:
    order = next(entry for entry in gather(project, "Shop").entries if entry.contract.name == "order")
    assert order.samples
    (row,) = order.samples.rows
    shown = dict(zip(order.samples.columns, row, strict=True))
    assert shown == {"order_id": "O-000000001", "customer_id": MASK, "email": MASK, "status": "paid", "items": MASK}
    assert "ada@example.com" not in page and "c-77" not in page


def test_hostile_text_stays_text(page: str) -> None:
    parsed = _Page(page)
    assert sum(tag == "script" for tag, _ in parsed.elements) == 1
    assert not any(tag == "img" or any(name.startswith("on") for name in attributes) for tag, attributes in parsed.elements)
    assert "{{ 7 * 7 }}" in parsed.text and "49" not in parsed.text
    assert "\\u202e\\x07" in parsed.text and "\u202e" not in page and "\x07" not in page
    assert not any(
        value and re.search(r"[<>\"' ]", value) for _, a in parsed.elements for key, value in a.items() if key in ("id", "href")
    )


def test_it_asks_nothing_of_the_network_and_allows_its_own_script_alone(page: str) -> None:
    parsed = _Page(page)
    assert all(
        value and value.startswith("#")
        for _, attributes in parsed.elements
        for key, value in attributes.items()
        if key in ("href", "src")
    )
    (policy,) = (a["content"] for tag, a in parsed.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert policy and re.search(r"default-src 'none'; .*script-src 'sha256-[\w+/]{43}='", policy)
    assert "http://" not in page and "https://" not in page


def test_links_lead_to_what_is_there_and_ids_are_there_once(page: str) -> None:
    ids = [a["id"] for _, a in _Page(page).elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = {(a["href"] or "")[1:] for tag, a in _Page(page).elements if tag == "a"}
    assert links <= set(ids)


def test_different_names_have_different_anchors() -> None:
    names = ["a b", "a-b", "a-20-b", "a.b", "a_b", "ä", "A"]
    assert len({anchor(name) for name in names}) == len(names)


def test_versions_are_those_of_git_and_of_the_file(project: Project) -> None:
    order = next(entry for entry in gather(project, "Shop").entries if entry.contract.name == "order")
    assert [version.version for version in order.versions] == ["1.1.0", "1.0.0"]
    assert order.versions[-1].changes == ()


def test_a_project_outside_of_git_has_a_page_without_earlier_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain" / "datasets").mkdir(parents=True)
    (tmp_path / "plain" / "headrace.yaml").write_text("datasets: [datasets]\nsources: []\n")
    found = gather(Project.load(tmp_path / "plain"), "Shop")
    assert found.notes[0].startswith("no earlier versions: ")
    assert "<h2>" in render(found)


def test_topics_are_those_that_the_contract_names(project: Project) -> None:
    path = project.datasets[0] / "order.v1.yaml"
    more = "[{property: topic, value: shop.orders.v1}, {property: retention, value: 7d}]"
    server = f"{{server: orders, type: kafka, host: 'broker:9092', format: avro, customProperties: {more}}}"
    path.write_text(f"{path.read_text()}servers: [{server}]\n")
    order = next(entry for entry in gather(project, "Shop").entries if entry.contract.name == "order")
    assert order.topics == (("shop.orders.v1", "at broker:9092, as avro, kept 7d"),)
