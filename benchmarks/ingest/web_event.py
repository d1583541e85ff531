"""The common form of the sample's web events as msgspec types: what decodes into them is sound, the rest needs a closer look.

Stricter than the contract, never laxer: unknown fields, nulls, numbers as times and much more is refused here although the contract
may accept it. Fields stand in the order of their payload names, so that encoding needs no sorting.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Text = Annotated[str, Meta(min_length=1, max_length=256)]
Optional = str | UnsetType


class Campaign(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``context.campaign``."""

    content: str
    medium: str
    name: str
    source: str
    term: str


class Consent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``context.consent``."""

    categoryPreferences: dict[str, bool]


class Library(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``context.library``."""

    name: str
    version: str


class Page(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``context.page``."""

    url: Annotated[str, Meta(max_length=8192)]


class Context(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """``context``. No ``traffic``: what has it may have to be filtered."""

    campaign: Campaign | UnsetType = UNSET
    consent: Consent | UnsetType = UNSET
    ip: Annotated[str, Meta(max_length=64)]
    library: Library
    locale: Annotated[str, Meta(max_length=64)]
    page: Page
    userAgent: Annotated[str, Meta(max_length=2048)]


class Product(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One of ``properties.products``."""

    quantity: int
    sku: str


class Properties(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``properties`` of every kind of event."""

    category: Optional = UNSET
    currency: Optional = UNSET
    name: Optional = UNSET
    order_id: Optional = UNSET
    path: Optional = UNSET
    price: float | int | UnsetType = UNSET
    products: list[Product] | UnsetType = UNSET
    quantity: int | UnsetType = UNSET
    query: Optional = UNSET
    sku: Optional = UNSET
    title: Optional = UNSET
    value: float | int | UnsetType = UNSET


class Address(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``traits.address``."""

    country: str


class Traits(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """``traits``."""

    address: Address | UnsetType = UNSET
    email: Optional = UNSET
    firstName: Optional = UNSET
    lastName: Optional = UNSET
    phone: Optional = UNSET
    plan: Optional = UNSET


class WebEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One line."""

    messageId: Text
    type: Literal["track", "identify", "page", "screen", "group", "alias"]
    context: Context
    originalTimestamp: str
    sentAt: str
    receivedAt: str
    event: Text | None = None
    name: Text | None = None
    userId: Text | None = None
    anonymousId: Text | None = None
    previousId: Text | None = None
    groupId: Text | None = None
    properties: Properties | None = None
    traits: Traits | None = None
    channel: str | None = None
    writeKey: str | None = None
    schemaVersion: Literal[1, 2] = 1


def breaks_cross_field_rules(event: WebEvent) -> bool:
    """Whether one of the contract's rules over several columns is broken."""
    kind = event.type
    if kind == "track":
        missing = event.event is None and event.name is None
    elif kind == "group":
        missing = event.groupId is None
    elif kind == "alias":
        missing = event.previousId is None or event.userId is None
    elif kind == "identify":
        missing = event.userId is None and event.traits is None
    else:
        missing = False
    return missing or (event.userId is None and event.anonymousId is None)
