"""What is wrong with the URL of a catalog is a sentence without its password."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from lake.location import Lake

PASSWORD = "pw-4f1d0c"
WRONG = [
    (
        "postgresql+psycopg2://u:{}@h/db",
        "catalog postgresql+psycopg2://h/db: its driver is not installed: pip install psycopg2",
    ),
    ("postgresql+asyncpg://u:{}@h/db?x={}", "catalog postgresql+asyncpg://h/db: its driver is not installed: pip install asyncpg"),
    ("mongodb://u:{}@h/db", "catalog mongodb://h/db: SQLAlchemy knows no such database or driver"),
    ("postgres://u:{}@h/db", "catalog postgres://h/db: SQLAlchemy knows no such database or driver"),
    ("{}", "catalog of headrace.yaml: not a URL such as postgresql+psycopg://HOST/DATABASE"),
    ("postgresql://u:{}@h:port/db", "catalog postgresql://h/db: not a URL"),
    ("nodb://u:{}@[h/db", "catalog of headrace.yaml: SQLAlchemy knows no such database"),
]


@pytest.mark.parametrize(("url", "message"), WRONG)
def test_a_catalog_that_cannot_be_opened_is_told(url: str, message: str, tmp_path: Path) -> None:
    lake = Lake.at(str(tmp_path / "lake"), url.format(PASSWORD, PASSWORD))
    with pytest.raises(ConfigurationError) as caught:
        lake.catalog()
    assert str(caught.value).startswith(message) and PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(lake)
