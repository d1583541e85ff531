"""The population: who the customers are, on which devices, and the calendar in which they live.

Every name is invented; addresses are of example.com/.org, phones of +49 15550, IPs of the documentation ranges.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from random import Random

FIRST_NAMES = (
    "Jürgen", "Käthe", "Anneliese", "Björn", "Zoë", "Émile", "Søren", "Lena", "Mehmet", "Chloë", "Jörg",
    "Günther", "Marie", "Noémie", "Håkon", "Inês", "Tomás", "Uwe", "Sören", "Heike", "Rüdiger", "Dörte", "Ole", "Ulla",
)  # fmt: skip
LAST_NAMES = (
    "Müller", "Groß", "Schröder", "Weiß", "Jäger", "Köhler", "O'Brien", "Nuñez", "Åkesson", "Çelik", "van der Böhmen",
    "Königsmann-Lüdenscheidt", "Lefèvre", "Strauß", "Fürst", "Hägglund", "Meier", "Schmidt", "Dupont", "Sørensen",
)  # fmt: skip
LOCALES = ("de-DE", "de-AT", "en-GB", "fr-FR", "sv-SE", "en-US")
COUNTRIES = ("DE", "AT", "GB", "FR", "SE", "US")
USER_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0) Chrome/141.0",
    "Mozilla/5.0 (Macintosh) Safari/605.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Firefox/144.0",
    "Mozilla/5.0 (iPhone; iOS 18_6) Mobile/15E148",
)
APP_AGENTS = ("WebshopApp/5.12.1 (Android 16; Pixel 9)", "WebshopApp/5.11.0 (iOS 18.6; iPhone16,2)")
IP_RANGES = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8::")

CONSENT_KNOWN = 0.92  # of the people; of the others there is no choice on record
ANONYMOUS_FOREVER = 0.2  # of the people never log in
BUSINESS = 0.06  # of the people belong to a company: group events
SHARED_DEVICE = 0.02  # of the people browse on a device of somebody else too
CLOCK_OFF = 0.03  # of the devices have a clock that is minutes off
NEW_SCHEMA = 0.3  # of the browsers state schema version 2, the others none
DAY_MS = 86_400_000
HOUR_WEIGHTS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 9, 9, 10, 11, 10, 9, 9, 10, 11, 13, 16, 17, 14, 9, 5)


@dataclass(slots=True, eq=False)
class Device:
    """A browser or an app: one anonymous id, and whoever logged in on it last."""

    anonymous_id: str
    head: str  # JSON of the anonymous id and the context that never changes on it, open at the end
    skew_ms: int  # the client's clock minus the true time
    user_id: str | None = None
    busy_until_ms: int = 0  # sessions on a device follow each other


@dataclass(slots=True, eq=False)
class Person:
    """One human, the unit of the truth for identity."""

    person_id: str
    number: int
    user_id: str
    email: str
    phone: str
    first_name: str
    last_name: str
    birth_date: str
    country: str
    marketing: bool
    registers: bool
    company: str | None
    browsers: list[Device]
    apps: list[Device]


class Population:
    """Everybody, made at once: some 2 kB each, capped, so that memory does not grow with the records."""

    def __init__(self, seed: int, records: int) -> None:
        rng = Random(f"{seed}:people")
        size = min(50_000, max(60, records // 25))
        self.people = [_person(rng, number) for number in range(size)]
        for person in rng.sample(self.people, int(size * SHARED_DEVICE)):
            person.browsers.append(rng.choice(self.people).browsers[0])


@dataclass(frozen=True)
class Calendar:
    """The days that the data covers, busy in the evening and quiet at night."""

    start: date
    days: int

    @property
    def start_ms(self) -> int:
        """The first instant, in milliseconds since 1970."""
        return int(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp()) * 1000

    @property
    def end_ms(self) -> int:
        """The instant after the last day."""
        return self.start_ms + self.days * DAY_MS

    def even_ms(self, fraction: float) -> int:
        """The same if traffic were even all day."""
        return self.start_ms + int(fraction * self.days * DAY_MS)

    def at_ms(self, fraction: float) -> int:
        """When this fraction of all the traffic has been seen."""
        day, within = divmod(fraction * self.days, 1.0)
        hour = min(23, bisect_right(_HOURS, within))
        before = _HOURS[hour - 1] if hour else 0.0
        return self.start_ms + int((day + (hour + (within - before) / (_HOURS[hour] - before)) / 24) * DAY_MS)


_HOURS = [total / sum(HOUR_WEIGHTS) for total in accumulate(HOUR_WEIGHTS)]
_SECONDS = [f"{ms // 1000:02d}.{ms % 1000:03d}Z" for ms in range(60_000)]


@lru_cache(maxsize=20_000)
def _minute(minute: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:")


def iso(ms: int) -> str:
    """Milliseconds since 1970 as `2026-11-02T10:11:12.345Z`."""
    return _minute(ms // 60_000) + _SECONDS[ms % 60_000]


def uuid(rng: Random) -> str:
    """A UUID of the seeded generator."""
    digits = rng.randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _person(rng: Random, number: int) -> Person:
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    home = min(int(rng.expovariate(1.2)), len(LOCALES) - 1)
    consent = _consent(rng)
    return Person(
        person_id=f"P-{number:07d}",
        number=number,
        user_id=f"u-{1_000_003 + number * 7}",
        email=f"{_ascii(first)}.{_ascii(last)}{number}@example.{rng.choice(('com', 'com', 'org'))}",
        phone=f"+4915550{number:06d}",
        first_name=first,
        last_name=last,
        birth_date=(date(1940, 1, 1) + timedelta(days=rng.randrange(25_000))).isoformat(),
        country=COUNTRIES[home],
        marketing=rng.choice((True, False)),
        registers=rng.random() >= ANONYMOUS_FOREVER,
        company=f"company-{number % 997:03d}" if rng.random() < BUSINESS else None,
        browsers=[_browser(rng, LOCALES[home], consent) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))],
        apps=[_app(rng, LOCALES[home], consent) for _ in range(rng.choice((1, 1, 1, 2)))],
    )


def _ascii(name: str) -> str:
    plain = name.lower().replace("ß", "ss").replace("ø", "o").replace("'", "").replace(" ", "")
    return unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()


def _consent(rng: Random) -> str:
    if rng.random() >= CONSENT_KNOWN:
        return ""
    analytics, advertising = ("true" if rng.random() < share else "false" for share in (0.8, 0.4))
    return f'"consent":{{"categoryPreferences":{{"analytics":{analytics},"advertising":{advertising}}}}},'


def _ip(rng: Random) -> str:
    return f"{rng.choice(IP_RANGES)}{rng.randrange(1, 255)}"


def _skew_ms(rng: Random) -> int:
    return int(rng.gauss(0, 300_000 if rng.random() < CLOCK_OFF else 900))


def _browser(rng: Random, locale: str, consent: str) -> Device:
    anonymous_id = uuid(rng)
    version = '"schemaVersion":2,' if rng.random() < NEW_SCHEMA else ""
    head = (
        f'{version}"anonymousId":"{anonymous_id}","context":{{"ip":"{_ip(rng)}","userAgent":"{rng.choice(USER_AGENTS)}",'
        f'"locale":"{locale}","library":{{"name":"analytics.js","version":"2.11.4"}},{consent}'
    )
    return Device(anonymous_id, head, _skew_ms(rng))


def _app(rng: Random, locale: str, consent: str) -> Device:
    anonymous_id = uuid(rng)
    head = (
        f'"anonymousId":"{anonymous_id}","context":{{"device":{{"id":"{uuid(rng)}","type":"mobile"}},'
        f'"ip":"{_ip(rng)}","userAgent":"{rng.choice(APP_AGENTS)}","locale":"{locale}",'
        f'"library":{{"name":"analytics-mobile","version":"1.9.2"}},{consent}'
    )
    return Device(anonymous_id, head, _skew_ms(rng))
