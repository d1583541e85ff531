"""``python -m devstack.cdp``: the endpoint alone, in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from contracts.errors import ConfigurationError, HeadraceError
from devstack.cdp.component import DEFAULT_KEY_NAME, WRITE_KEY, check_installed
from lake.storage import keep_private


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), required=True, help="On 127.0.0.1; 0 takes a free one. The address is printed."
)
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the ledger; made if it is not there."
)
@click.option(
    "--write-key",
    "write_keys",
    metavar="NAME=KEY",
    multiple=True,
    default=(f"{DEFAULT_KEY_NAME}={WRITE_KEY}",),
    show_default=True,
    help="May be repeated.",
)
def main(port: int, data: Path, write_keys: tuple[str, ...]) -> None:
    """A CDP's ingestion API to develop against."""
    keep_private()
    try:
        check_installed()
        from devstack.cdp.server import serve  # noqa: PLC0415 - needs the extra

        serve(port, data, _by_name(write_keys))
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"headrace: port {port}: {error.strerror}; give another: --port NUMBER", file=sys.stderr)
        sys.exit(3)


def _by_name(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, _, key = text.partition("=")
        if not name or not key or ":" in key:
            raise ConfigurationError(f"--write-key {text}: expected NAME=KEY, and no colon in the key")
        if name in found or key in found.values():
            raise ConfigurationError(f"--write-key {text}: the name or the key is given twice")
        found[name] = key
    return found


if __name__ == "__main__":
    main()
