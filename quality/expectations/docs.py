"""Data Docs that need nothing else: the page of Great Expectations, without its scripts and without what it loads from elsewhere.

Its template takes styles, scripts, fonts and pictures from seven hosts, and puts some names into the page as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from typing import Any

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LEFT_OUT = frozenset(
    {"script", "iframe", "object", "form", "style", "svg", "button", "noscript", "head", "footer"}
)  # with what is in them
_DROPPED = frozenset({"link", "meta", "img", "html", "body", "base", "input", "embed"})  # tags alone
_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "base", "embed", "col", "wbr"})
_ATTRIBUTES = frozenset({"class", "colspan", "rowspan"})
_HIDDEN = ("modal", "breadcrumb", "navbar", "sticky", "cooltip")  # classes of what works by scripts alone
_SIGNS = {"fa-check-circle": "ok", "fa-times": "failed", "fa-exclamation-triangle": "error"}  # pictures of a font from elsewhere
_STYLE = """
:root { color-scheme: light dark; } body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; } td, th { padding: .3rem .9rem .3rem 0; text-align: left;
vertical-align: top; border-bottom: 1px solid #8886; overflow-wrap: anywhere; } .badge { font: 13px ui-monospace, monospace; }
h1, h2, h3, h4, h5, h6, .h6 { font-size: 1rem; font-weight: 600; margin: .8rem 0 .2rem; } ul { padding-left: 1.1rem; }
"""


def page_of_result(result: Any, title: str) -> str:
    """The page of a validation result; of values of rows it shows what the result holds.

    Args:
        result: an ``ExpectationSuiteValidationResult``.
        title: any text.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer  # noqa: PLC0415 - of the extra quality
    from great_expectations.render.view import DefaultJinjaPageView  # noqa: PLC0415

    made = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    reader = _Body()
    reader.feed(made)
    reader.close()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{''.join(reader.parts)}\n</body>\n</html>\n"
    )


class _Body(HTMLParser):
    """What a page shows: its elements and texts, written anew."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._in_cell = False
        self._left_out: list[str] = []  # elements that are open, from the first that is left out

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        classes = dict(attrs).get("class") or ""
        hides = tag in _LEFT_OUT or any(word in classes for word in _HIDDEN) or ("data-toggle", "collapse") in attrs
        if self._left_out or hides:
            if tag not in _VOID:
                self._left_out.append(tag)
            return
        if tag not in _DROPPED:
            kept = "".join(f' {name}="{escape(value or "")}"' for name, value in attrs if name in _ATTRIBUTES)
            self._in_cell = self._in_cell or tag == "td"
            signs = [told for sign, told in _SIGNS.items() if sign in classes.split() and self._in_cell]
            self.parts.append(f"<{tag}{kept}>{''.join(signs)}")

    def handle_endtag(self, tag: str) -> None:
        if self._left_out:
            if tag in self._left_out:
                while self._left_out.pop() != tag:
                    pass
        elif tag not in _DROPPED and tag not in _VOID:
            self._in_cell = self._in_cell and tag != "td"
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._left_out and (data.strip() or data == " "):
            self.parts.append(escape(data))
