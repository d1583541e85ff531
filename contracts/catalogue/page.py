"""The catalogue as one HTML page: nothing from elsewhere, escaped, light and dark, readable without its script."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from contracts.catalogue.entries import Catalogue
from contracts.text import printable
from contracts.version import VERSION

_HERE = Path(__file__).parent


def render(catalogue: Catalogue) -> str:
    """The page. Names and descriptions are anybody's text."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["anchor"] = anchor
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html.j2").render(
        catalogue=catalogue, style=style, script=script, script_hash=_hash(script), version=VERSION
    )


def anchor(*parts: Any) -> str:
    """An id within the page: letters, digits and a few signs, another for every other text."""
    return re.sub(r"[^A-Za-z0-9_.]", lambda match: f"-{ord(match[0]):x}-", ".".join(map(str, parts)))


def _finalize(value: Any) -> Any:
    """Control characters and those that reorder text are shown, not obeyed."""
    return printable(value, keep="\n\t") if type(value) is str else value


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
