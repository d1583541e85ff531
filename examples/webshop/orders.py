"""The backend's export of orders: Avro with decimals, every version of an order as it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import fastavro

from examples.webshop.defects import COPIES, due
from examples.webshop.entities import Columns, EntityDefect, copy_versions, put, spoil_versions
from examples.webshop.files import set_mtime
from examples.webshop.sessions import PRODUCTS, Order, Shop, order_id_of
from examples.webshop.truth import Row, Truth

RECORDS_PER_FILE = 20_000
FILES_MIN = 3
SYNC_MARKER = b"headrace-webshop"
CANCELLED = 0.04  # of the orders; they are never shipped
REFUNDED = 0.14  # of the orders, half of them in full
VERSIONS_PER_ORDER = 3.1
CURRENCIES = {"GB": "GBP", "SE": "SEK", "US": "USD"}  # by country; else EUR
_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
_ITEM = {
    "type": "record",
    "name": "Item",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "unit_price_cents", "type": "long"},
    ],
}
SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Order",
        "namespace": "com.example.webshop",
        "fields": [
            {"name": "order_id", "type": "string"},
            {"name": "customer_id", "type": "string"},
            {"name": "email", "type": ["null", "string"], "default": None},
            {"name": "status", "type": "string"},
            {"name": "currency", "type": "string"},
            {"name": "total_amount", "type": _DECIMAL},
            {"name": "refunded_amount", "type": ["null", _DECIMAL], "default": None},
            {"name": "item_count", "type": "int"},
            {"name": "items", "type": {"type": "array", "items": _ITEM}},
            {"name": "placed_at", "type": _TIMESTAMP},
            {"name": "updated_at", "type": _TIMESTAMP},
        ],
    }
)


class Version(NamedTuple):
    """An order as of a time; made a row of columns only when its file is written."""

    updated_us: int
    order: Order
    status: str


def _decimal(cents: int) -> bytes:
    """The bytes of an Avro decimal of scale 2, smallest big-endian form; fastavro passes them through."""
    return cents.to_bytes((cents + (cents < 0)).bit_length() // 8 + 1, "big", signed=True)


def _cents(decimal: bytes) -> int:
    return int.from_bytes(decimal, "big", signed=True)


def _overrefunded(row: Columns, rng: Random) -> Columns:
    refund = _decimal(_cents(row["total_amount"]) + rng.randrange(1, 5_000))
    return {**row, "status": "refunded", "refunded_amount": refund}


def _negative(row: Columns, _: Random) -> Columns:
    total = _decimal(-_cents(row["total_amount"]) - 1)
    return {**row, "status": "paid", "refunded_amount": None, "total_amount": total}


def _placed_later(row: Columns, rng: Random) -> Columns:
    return {**row, "placed_at": row["updated_at"] + rng.randrange(1, 86_400_000_000)}


def _conflict(row: Columns, _: Random) -> Columns:
    return {**row, "total_amount": _decimal(_cents(row["total_amount"]) + 100)}


ORDER_DEFECTS = (
    EntityDefect("refund_over_total", _overrefunded, "cross_field"),
    EntityDefect("negative_total", _negative, "out_of_range"),
    EntityDefect("unknown_currency", put({"currency": "DKK"}), "not_in_enum"),
    EntityDefect("refunded_without_amount", put({"status": "refunded", "refunded_amount": None}), "missing_required"),
    EntityDefect("placed_after_updated", _placed_later, "cross_field"),
)


def write_orders(shop: Shop, directory: Path, total: int, rng: Random, truth: Truth) -> None:
    """All of DIR/orders, some `total` records: the orders of web and apps, and others taken by phone.

    In memory: small tuples for all versions (some 150 bytes each), rows for one file.
    """
    versions = _versions(shop, total, rng)
    total = len(versions)
    files = max(FILES_MIN, -(-total // RECORDS_PER_FILE))
    cuts = [total * number // files for number in range(files + 1)]
    carried: list[Row] = []
    for number in range(files):
        first, last = cuts[number], cuts[number + 1]
        rows = [_row(shop, version, rng) for version in versions[first:last]]
        end_ms = rows[-1].at_ms
        spoil_versions(rows, due(ORDER_DEFECTS, "orders", first, last, total), rng)
        copies = copy_versions(rows, due(COPIES, "orders", first, last, total), end_ms, _conflict, rng)
        rows += carried
        carried = [copy for copy in copies if copy.at_ms > end_ms]
        rows += [copy for copy in copies if copy.at_ms <= end_ms]
        if last == total:
            rows += carried
        rows.sort(key=lambda row: row.at_ms)
        path = directory / f"orders-{number:04d}.avro"
        with path.open("wb") as file:
            bodies = (row.body for row in rows)
            fastavro.writer(file, SCHEMA, bodies, "deflate", sync_marker=SYNC_MARKER, codec_compression_level=1)
        set_mtime(path, end_ms + 60_000)
        truth.add_file("orders", f"orders/{path.name}", rows)


def _versions(shop: Shop, total: int, rng: Random) -> list[Version]:
    """Some `total` versions in the order of their times."""
    orders = shop.orders[: int(total / VERSIONS_PER_ORDER)]
    number = len(shop.orders)
    while len(orders) < total / VERSIONS_PER_ORDER:
        number += 1
        items = tuple((rng.randrange(len(PRODUCTS)), rng.randrange(1, 4)) for _ in range(rng.randrange(1, 5)))
        orders.append(Order(shop.calendar.at_ms(rng.random()), number, rng.randrange(len(shop.people)), items))
    versions = [version for order in orders for version in _life(order, rng)]
    versions.sort()
    return versions


def _life(order: Order, rng: Random) -> Iterator[Version]:
    """Placed, paid, then shipped, refunded or cancelled; a version is later than the one before."""
    updated_us = order.placed_ms * 1000 + rng.randrange(1000)
    yield Version(updated_us, order, "placed")
    updated_us += rng.randrange(1_000_000, 3_600_000_000)
    yield Version(updated_us, order, "paid")
    updated_us += rng.randrange(3_600_000_000, 86_400_000_000)
    chance = rng.random()
    if chance < CANCELLED:
        yield Version(updated_us, order, "cancelled")
        return
    yield Version(updated_us, order, "shipped")
    if chance > 1 - REFUNDED:
        yield Version(updated_us + rng.randrange(3_600_000_000, 86_400_000_000), order, "refunded")


def _row(shop: Shop, version: Version, rng: Random) -> Row:
    updated_us, order, status = version
    person = shop.people[order.person]
    order_id = order_id_of(order)
    items = [
        {"sku": PRODUCTS[number].sku, "quantity": quantity, "unit_price_cents": PRODUCTS[number].cents}
        for number, quantity in order.items
    ]
    total_cents = sum(quantity * PRODUCTS[number].cents for number, quantity in order.items)
    refund_cents = total_cents if rng.choice((True, False)) else total_cents // 2
    body = {
        "order_id": order_id,
        "customer_id": person.user_id,
        "email": person.email if person.number % 9 else None,
        "status": status,
        "currency": CURRENCIES.get(person.country, "EUR"),
        "total_amount": _decimal(total_cents),
        "refunded_amount": _decimal(refund_cents) if status == "refunded" else None,
        "item_count": sum(quantity for _, quantity in order.items),
        "items": items,
        "placed_at": order.placed_ms * 1000,
        "updated_at": updated_us,
    }
    return Row(updated_us // 1000, person.person_id, None, body, f"{order_id}@{updated_us}")
