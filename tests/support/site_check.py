"""What ``make docs`` asks of the site that was built: it needs no network, and search answers what a newcomer types.

    python -m tests.support.site_check .cache/site

Search ranks as the site's own does: every word must occur, titles weigh most, and rare words more than frequent ones (BM25).
Runs in the environment of the site, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path

# What a newcomer types, and the pages that answer it. One of them must be among the first.
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "airflow": ("guides/airflow",),
    "at least once": ("guides/streaming", "glossary"),
    "avro": ("reference/sources",),
    "backfill": ("concepts/replay", "glossary", "guides/run-and-rerun"),
    "consent": ("reference/destinations", "glossary", "concepts/lane"),
    "csv": ("reference/sources",),
    "dead letter": ("reference/dead-letters",),
    "duplicate": ("concepts/horizon", "reference/contracts", "glossary"),
    "exactly once": ("glossary",),
    "exit code": ("reference/cli", "guides/run-and-rerun"),
    "gcs": ("guides/object-storage", "guides/local-stack"),
    "kafka": ("guides/streaming", "guides/local-stack"),
    "kubernetes": ("guides/flink-on-kubernetes", "guides/templates"),
    "late data": ("glossary", "concepts/event-time", "guides/streaming"),
    "metrics": ("guides/index", "guides/local-stack"),
    "privacy": ("guides/security",),
    "rate limit": ("reference/destinations", "guides/delivery", "concepts/lane"),
    "savepoint": ("guides/streaming-jobs", "glossary", "guides/flink-on-machines"),
    "schema": ("reference/contracts", "reference/sources", "glossary"),
    "schema registry": ("glossary",),
    "segment": ("guides/delivery", "reference/destinations", "guides/local-stack"),
    "watermark": ("concepts/event-time", "glossary", "guides/streaming"),
    "window": ("concepts/event-time", "reference/contracts"),
}
_FIRST = 5  # pages, as many as a screen shows
_TITLE_BOOST = 1_000.0
_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_TAG = re.compile(r"<[^>]+>")
_RESOURCE = re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=[\"']?((?:https?:)?//[^\"'\s>]+)")
_STYLESHEET = re.compile(
    r"<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload|icon))[^>]*?\bhref=[\"']?((?:https?:)?//[^\"'\s>]+)"
)
_CSS_URL = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')\s]+)")


@dataclass(frozen=True)
class _Field:
    """One field of all sections: words of each, and in how many each word is."""

    words: list[Counter[str]]
    boost: float

    def scores(self, word: str) -> Iterator[float]:
        """Of each section, for words that begin so."""
        mean = sum(map(Counter.total, self.words)) / len(self.words) or 1.0
        found = [sum(times for other, times in words.items() if other.startswith(word)) for words in self.words]
        sections = sum(map(bool, found))
        rarity = math.log(1 + (len(found) - sections + 0.5) / (sections + 0.5))
        for times, words in zip(found, self.words, strict=True):
            length = 1 - _B + _B * words.total() / mean
            yield self.boost * rarity * times * (_K1 + 1) / (times + _K1 * length) if times else 0.0


class Search:
    """The index of a site."""

    def __init__(self, index: Mapping[str, list[dict[str, str]]]) -> None:
        sections = index["docs"]
        self._places = [section["location"] for section in sections]
        self._boosts = [float(section.get("boost", 1)) for section in sections]
        self._fields = [
            _Field([Counter(_words(section["title"])) for section in sections], _TITLE_BOOST),
            _Field([Counter(_words(section["text"])) for section in sections], 1.0),
        ]

    def pages(self, query: str) -> list[str]:
        """Pages with all words of a query in one section, the best first, without ``.html``."""
        totals = [0.0] * len(self._places)
        fits = [True] * len(self._places)
        for word in _words(query):
            scores = [sum(of) for of in zip(*(field.scores(word) for field in self._fields), strict=True)]
            totals = [total + boost * score for total, boost, score in zip(totals, self._boosts, scores, strict=True)]
            fits = [fit and score > 0 for fit, score in zip(fits, scores, strict=True)]
        ranked = sorted((-total, place) for total, place, fit in zip(totals, self._places, fits, strict=True) if fit)
        return list(dict.fromkeys(place.partition("#")[0].removesuffix(".html") for _, place in ranked))


def _words(text: str) -> list[str]:
    """Words as search sees them; a plural is its singular."""
    plain = unescape(_TAG.sub(" ", text)).lower()
    return [word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in _WORD.findall(plain)]


def unanswered(index: Mapping[str, list[dict[str, str]]]) -> list[str]:
    """What is wrong with the answers, a line each."""
    search, wrong = Search(index), []
    for query, pages in ANSWERS.items():
        first = search.pages(query)[:_FIRST]
        if not set(pages) & set(first):
            wrong.append(f"search for {query!r}: none of {', '.join(pages)} is among {', '.join(first) or 'no page'}")
    return wrong


def from_elsewhere(site: Path) -> list[str]:
    """What pages or stylesheets would load over the network, a line each."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]):
        text = path.read_text("utf-8")
        patterns = (_CSS_URL,) if path.suffix == ".css" else (_RESOURCE, _STYLESHEET, _CSS_URL)
        if path.suffix == ".html":
            text = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)  # what pages tell
        found += [f"{path.relative_to(site)} loads {url}" for pattern in patterns for url in pattern.findall(text)]
    return found


def main() -> None:
    """Say what is wrong; exit 1 where something is."""
    site = Path(sys.argv[1])
    wrong = from_elsewhere(site) + unanswered(json.loads((site / "search" / "search_index.json").read_text("utf-8")))
    for line in wrong:
        print(f"{site}: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
