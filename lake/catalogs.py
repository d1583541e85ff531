"""Iceberg catalogs: in a database by SQLAlchemy, or behind Iceberg's REST interface."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import ValidationError
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
)
from requests.exceptions import RequestException
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, OperationalError, SQLAlchemyError

from contracts.errors import ComponentDownError, ConfigurationError

_NAME = "headrace"  # also of settings of REST catalogs in the environment: PYICEBERG_CATALOG__HEADRACE__TOKEN
_PACKAGES = {"psycopg": "headrace[postgres]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
# What a catalog in trouble raises: nobody knows then whether a commit was made.
TROUBLE = (
    OperationalError, RequestException, ServerError, ServiceUnavailableError, TooManyRequestsError, CommitStateUnknownException,
)  # fmt: skip
_REST = {"https": "https", "rest+http": "http", "rest+https": "https"}


def open_catalog(url: str, **properties: str) -> Catalog:
    """Open a catalog.

    Args:
        url: SQLAlchemy's of a database, or ``https://…``, ``rest+http://…`` of a REST catalog.
        properties: for pyiceberg, beside the URL.

    Raises:
        ConfigurationError: the URL is none, or its driver is not installed; or a REST catalog refuses us.
        ComponentDownError: it does not answer.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _REST:
        return _open_rest(f"{_REST[scheme]}://{rest}", properties)
    for attempt in range(3):  # two processes that create the same SQLite tables at once: one is told so, and tries again
        try:
            return SqlCatalog(_NAME, uri=url, **properties)
        except (ArgumentError, ImportError, ValueError) as error:
            raise ConfigurationError(f"catalog {shown(url)}: {_wrong_url(error)}") from None
        except SQLAlchemyError as error:
            failure = error
            if attempt < 2 and "already exists" in str(error):
                continue
            break
    raise ComponentDownError(f"catalog {shown(url)}: no answer ({type(failure).__name__}); is it running, and the URL right?")


def _open_rest(url: str, properties: dict[str, str]) -> Catalog:
    try:
        return load_catalog(_NAME, type="rest", uri=url, **properties)
    except RequestException as error:
        failure: Exception = error
    except (ValidationError, ValueError):
        raise ConfigurationError(
            f"catalog {shown(url)}: answers, but not as Iceberg's REST interface does; is the URL right?"
        ) from None
    except RESTError as error:
        if not isinstance(error, TROUBLE):
            raise ConfigurationError(
                f"catalog {shown(url)}: refuses ({type(error).__name__}); are the URL and PYICEBERG_CATALOG__HEADRACE__… right?"
            ) from None
        failure = error
    raise ComponentDownError(f"catalog {shown(url)}: no answer ({type(failure).__name__}); is it running, and the URL right?")


def make_namespace(catalog: Catalog, name: str) -> None:
    """Make a namespace where it is not there yet."""
    for last in (False, True):
        try:
            catalog.create_namespace_if_not_exists(name)
            return
        except (IntegrityError, NamespaceAlreadyExistsError):  # another process made it between look and leap
            return
        except ServerError:  # so says Iceberg's own server of that
            if last:
                raise


def shown(url: str) -> str:
    """A catalog's URL without user, password and parameters."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else "of headrace.yaml"
    except ValueError:
        return "of headrace.yaml"


def _wrong_url(error: Exception) -> str:
    """What is wrong with a catalog's URL, and what to do."""
    if isinstance(error, ImportError):
        return f"its driver is not installed: pip install {_PACKAGES.get(error.name or '', error.name)}"
    if isinstance(error, NoSuchModuleError):
        return "SQLAlchemy knows no such database or driver; expected postgresql+psycopg://HOST/DATABASE or sqlite:///FILE"
    return "not a URL such as postgresql+psycopg://HOST/DATABASE, sqlite:///FILE or https://HOST (Iceberg REST)"
