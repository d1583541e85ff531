"""What a lake keeps so that people's data stays hidden: the key of hidden ids. Who was shown what: acts.py.

``_private/hidden-ids.key`` is 32 random bytes. A hidden id is the beginning of its HMAC-SHA-256 under this key: the same id looks
the same in all reports of a lake, and who has a report but not the lake cannot try out ids.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from lake.location import Lake

_KEY = "_private/hidden-ids.key"
_SHOWN_DIGITS = 12


def hidden_ids(lake: Lake) -> Callable[[str], str]:
    """What an id is shown as to people who may not see it; the key is made where there is none.

    Raises:
        OSError: there is no key, and none can be written.
    """
    key = _key(lake)
    return lambda text: hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:_SHOWN_DIGITS]


def _key(lake: Lake) -> bytes:
    where = lake.at_key(_KEY)
    try:
        return lake.storage.read(where)
    except FileNotFoundError:
        lake.storage.put_if_absent(where, secrets.token_bytes(32))
        return lake.storage.read(where)  # whoever was first
