"""What people do in the shop: sessions of events as JSON text, written straight from templates because that is fast."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from random import Random
from typing import NamedTuple

from examples.webshop.people import Calendar, Device, Person, Population, iso
from examples.webshop.truth import Row

TRACK = "track"
CAMPAIGN = 0.2  # of the sessions in the web come from one
ALIAS = 0.1  # of the first logins on a device join its anonymous id by an alias

_SCRIPTS: tuple[tuple[int, tuple[str, ...]], ...] = (  # weight, steps
    (18, ("page",)),
    (16, ("page", "page", "viewed")),
    (18, ("page", "viewed", "page", "viewed", "viewed")),
    (14, ("page", "search", "viewed", "viewed", "added", "viewed")),
    (10, ("page", "viewed", "added", "viewed", "added", "cart", "removed")),
    (8, ("page", "identify", "page", "viewed", "viewed")),
    (6, ("page", "viewed", "added", "cart", "checkout", "identify", "ordered", "page")),
    (8, ("page", "search", "viewed", "viewed", "added", "viewed", "added", "cart", "checkout", "identify", "ordered")),
    (2, ("page", "identify", "group", "page", "viewed", "added", "cart", "checkout", "ordered", "page")),
)
_WEIGHTS = list(accumulate(weight for weight, _ in _SCRIPTS))

_PAGES = tuple(
    (path, f"https://shop.example.com{path}", title)
    for path, title in (
        ("/", "Home"),
        ("/sale", "Sale"),
        ("/category/kitchen", "Kitchen"),
        ("/category/garden", "Garden"),
        ("/category/b%C3%BCcher", "Bücher"),
        ("/account", "Account"),
        ("/help/returns", "Returns"),
        ("/blog/2026/autumn?ref=nav", "Autumn"),
    )
)
_CAMPAIGNS = tuple(
    f'"campaign":{{"name":"{name}","source":"{source}","medium":"{medium}","term":"{term}","content":"{content}"}},'
    for name, source, medium, term, content in (
        ("herbst-2026", "newsletter", "email", "", "hero"),
        ("brand", "search.example.com", "cpc", "webshop", "text-a"),
        ("retargeting", "social.example.org", "paid-social", "", "carousel"),
    )
)
_WORDS = ("Kettle", "Teapot", "Gießkanne", "Lamp", "Blanket", "Knife", "Vase", "Chair", "Rug", "Clock")
_COLOURS = ("black", "white", "green", "blue", "red")
_QUERIES = ("teekanne", "garden chair", "größe xl", "lamp", "cadeau noël", "knife set")


class Product(NamedTuple):
    """Something to buy, with its properties ready as JSON."""

    sku: str
    cents: int
    properties: str


def _product(number: int) -> Product:
    cents = 199 + number * 7919 % 19_800
    name = f"{_WORDS[number % 10]} {_COLOURS[number // 10 % 5]} {number}"
    sku = f"SKU-{number:05d}"
    price = f"{cents // 100}.{cents % 100:02d}"
    category = "kitchen" if number % 3 else "garden"
    properties = f'"sku":"{sku}","name":"{name}","category":"{category}","price":{price},"currency":"EUR"'
    return Product(sku, cents, properties)


PRODUCTS = tuple(_product(number) for number in range(500))


class Order(NamedTuple):
    """An order as the shop took it, before its versions."""

    placed_ms: int
    number: int
    person: int
    items: tuple[tuple[int, int], ...]  # product, quantity


class Shop:
    """The state that web, mobile and orders share; what is in it grows only with the orders."""

    def __init__(self, population: Population, calendar: Calendar) -> None:
        self.people = population.people
        self.calendar = calendar
        self.orders: list[Order] = []


class Sessions:
    """Renders the sessions of one channel, `web` or `mobile`."""

    def __init__(self, shop: Shop, channel: str, rng: Random) -> None:
        self.shop = shop
        self.rng = rng
        self._campaign = ""
        self._url = ""
        self._web = channel == "web"
        self._screen = "page" if self._web else "screen"
        self._prefix = "ajs-" if self._web else "app-"
        self._tail = '"writeKey":"wk_1"}' if self._web else '"channel":"mobile"}'

    def pick(self, start_ms: int) -> tuple[Person, Device]:
        """Somebody with a device that is not in use at this time."""
        rng, people = self.rng, self.shop.people
        while True:
            person = people[int(rng.random() * len(people))]
            devices = person.browsers if self._web else person.apps
            device = devices[int(rng.random() * len(devices))]
            if device.busy_until_ms <= start_ms:
                return person, device

    def run(self, person: Person, device: Device, start_ms: int) -> list[Row]:
        """The events of one session; `at_ms` is when they happened by the true clock."""
        rng = self.rng
        rows: list[Row] = []
        at_ms = start_ms
        script = _SCRIPTS[bisect(_WEIGHTS, rng.random() * _WEIGHTS[-1])][1]
        self._campaign = _CAMPAIGNS[int(rng.random() * 3)] if self._web and rng.random() < CAMPAIGN else ""
        basket: list[tuple[int, int]] = []
        for step in script:
            at_ms += 800 + int(rng.random() * 45_000)
            if step == "identify":
                rows += self._identify(person, device, at_ms)
                continue
            if step == "group":
                if person.company and device.user_id == person.user_id:
                    group = f'"type":"group","groupId":"{person.company}","traits":{{"plan":"business"}},'
                    rows.append(self._event(person, device, at_ms, "group", group))
                continue
            kind, what = self._step(step, person, at_ms, basket)
            rows.append(self._event(person, device, at_ms, kind, what))
        device.busy_until_ms = at_ms + 1_000
        return rows

    def _step(self, step: str, person: Person, at_ms: int, basket: list[tuple[int, int]]) -> tuple[str, str]:
        rng = self.rng
        if step == "page":
            path, self._url, title = _PAGES[int(rng.random() * len(_PAGES))]
            properties = f'"properties":{{"path":"{path}","title":"{title}"}},'
            return self._screen, f'"type":"{self._screen}","name":"{title}",{properties}'
        if step == "search":
            query = _QUERIES[int(rng.random() * len(_QUERIES))]
            return TRACK, f'"type":"track","event":"Products Searched","properties":{{"query":"{query}"}},'
        if step in ("viewed", "added"):
            number = int(rng.random() ** 2 * len(PRODUCTS))
            properties = PRODUCTS[number].properties
            if step == "viewed":
                return TRACK, f'"type":"track","event":"Product Viewed","properties":{{{properties}}},'
            quantity = 1 + int(rng.random() ** 3 * 4)
            basket.append((number, quantity))
            return (
                TRACK,
                f'"type":"track","event":"Product Added","properties":{{{properties},"quantity":{quantity}}},',
            )
        if step == "removed" and len(basket) > 1:
            number, _quantity = basket.pop()
            return (
                TRACK,
                f'"type":"track","event":"Product Removed","properties":{{{PRODUCTS[number].properties}}},',
            )
        return TRACK, self._basket_event(step, person, at_ms, basket)

    def _basket_event(self, step: str, person: Person, at_ms: int, basket: list[tuple[int, int]]) -> str:
        cents = sum(PRODUCTS[number].cents * quantity for number, quantity in basket)
        value = f'"value":{cents // 100}.{cents % 100:02d},"currency":"EUR"'
        products = ",".join(f'{{"sku":"{PRODUCTS[number].sku}","quantity":{quantity}}}' for number, quantity in basket)
        if step != "ordered":
            name = "Checkout Started" if step == "checkout" else "Cart Viewed"
            return f'"type":"track","event":"{name}","properties":{{{value},"products":[{products}]}},'
        order = Order(at_ms, len(self.shop.orders) + 1, person.number, tuple(basket))
        self.shop.orders.append(order)
        order_id = f'"order_id":"{order_id_of(order)}"'
        return f'"type":"track","event":"Order Completed","properties":{{{order_id},{value},"products":[{products}]}},'

    def _identify(self, person: Person, device: Device, at_ms: int) -> list[Row]:
        """A login, and at times the alias that joins the anonymous id to the user."""
        if not person.registers:
            return []
        first_time = device.user_id is None
        device.user_id = person.user_id
        traits = (
            f'"traits":{{"email":"{person.email}","phone":"{person.phone}","firstName":"{person.first_name}",'
            f'"lastName":"{person.last_name}","address":{{"country":"{person.country}"}}}},'
        )
        rows = [self._event(person, device, at_ms, "identify", f'"type":"identify",{traits}')]
        if first_time and self.rng.random() < ALIAS:
            alias = f'"type":"alias","previousId":"{device.anonymous_id}",'
            rows.append(self._event(person, device, at_ms + 20, "alias", alias))
        return rows

    def _event(self, person: Person, device: Device, at_ms: int, kind: str, what: str) -> Row:
        """One event; in the web each has its own transport times, in the app the batch has them."""
        rng = self.rng
        message_id = self._prefix + rng.randbytes(16).hex()
        user = f'"{person.user_id}"' if device.user_id == person.user_id else "null"
        original_ms = at_ms + device.skew_ms
        if not self._web:
            body = (
                f'{{"messageId":"{message_id}",{what}{device.head}"app":{{"build":"5121"}}}},"userId":{user},'
                f'"originalTimestamp":"{iso(original_ms)}",{self._tail}'
            )
            return Row(at_ms, person.person_id, message_id, body.encode(), kind)
        delay_ms = 3 + int(rng.random() * 60)
        body = (
            f'{{"messageId":"{message_id}",{what}{device.head}{self._campaign}"page":{{"url":"{self._url}"}}}},"userId":{user},'
            f'"originalTimestamp":"{iso(original_ms)}","sentAt":"{iso(original_ms + delay_ms)}",'
            f'"receivedAt":"{iso(at_ms + delay_ms + 20 + int(rng.random() * 200))}",{self._tail}'
        )
        return Row(at_ms, person.person_id, message_id, body.encode(), kind)


def order_id_of(order: Order) -> str:
    """The id that the website's event and the backend's export share."""
    return f"O-{order.number:09d}"
