"""Seeded damage: of lines at the level of bytes and of JSON, and of decoded records. The same seed gives the same mutants."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

Container = dict[str, Any] | list[Any]

TIMESTAMPS = (
    "2026-11-02", "2026-11-02T10:00:00", "2026-11-02T10:00:00Z", "2026-11-02t10:00:00z", "2026-11-02 10:00:00+02:00",
    "2026-11-02T10:00:00.123456789Z", "2026-11-02T10:00:00.1234567890Z", "2026-11-02T10:00:00.Z", "2026-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T23:59:59.999999Z", "2026-11-02T24:00:00Z",
    "2026-11-02T23:59:60Z", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01", "2026-11-02T10:00:00+24:00", "2026-11-02T10:00:00+23:59",
    "2026-11-02T10:00:00+10:60", "2026-11-02T10:00:00+0200", "2026-11-02T10:00:00Z ", "2026-11-02T10:00:00Z\n",
    "٢٠٢٦-11-02T10:00:00Z", "2026-11-02T10:00:00.12３Z", "yesterday", "10:00:00Z", "1762077600", "2026-11-02T10:00:00−02:00",
)  # fmt: skip
STRINGS = (
    "", " ", "null", "undefined", "None", "NULL", "00000000-0000-0000-0000-000000000000", "track", "Track", "identify", "alias",
    "group", "screen", "page", "bot", "synthetic", "1", "2", "true", "x" * 255, "x" * 256, "x" * 257, "é" * 256, "🧡" * 256,
    "🧡" * 257,
    "\x00", "a\x00b", "\u200b", "\ufeff", "\u2028", "e\u0301", "\uffff", "\x7f", "\U0010ffff", "\u202eabc", "a\nb", '"', "\\",
)  # fmt: skip
# JSON texts that json.dumps would never write, or not in this form; the second line is no JSON at all.
LITERALS = (
    "1.0", "2.0", "1e0", "0.1e1", "-0", "-0.0", "1e308", "1E+308", "1.8e308", "1e400", "-1e400", "1e-400", "5e-324", "1" + "0" * 30,
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "9" * 309, "9" * 400, "9" * 4300, "9" * 4301, "1" + "0" * 400 + ".0", "0.1", "99999999999", "100000000000",
    "99999999999.9999999",
    "99999999999999", "100000000000000", "99999999999999999", "100000000000000000", "-62135596800", "-62135596801", "1e16", "1e17",
    "253402300799", "253402300800", "1762077600.123456", "1762077600123.5", "1762077600123456", '"\\u0041"', '"\\ud83e\\udde1"',
    "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x10", "1e", "--1", "nul", "True", "'a'", '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83e"', '"\\x41"', '"\\u12G4"', '"\t"', "", "{", "]", "[1,]", '{"a":1,}', '{"a" 1}', '{a:1}', "/**/1",
)  # fmt: skip
_RAW_MARK = "\ue000raw\ue000"
_SWAPS = (
    (b'"', b""), (b":", b","), (b",", b""), (b"{", b"["), (b"}", b"]"), (b"true", b"1"), (b"false", b'"false"'), (b"null", b"{}"),
    (b'"', b"'"), (b",", b",,"), (b"{", b"{ \t\r"), (b":", b" : "), (b"e", b"\\u0065"), (b"a", b"\xc3"), (b"o", b"\xed\xa0\x80"),
    (b"i", b"\xf4\x90\x80\x80"), (b"s", b"\xc0\xaf"), (b"t", b"\xe2\x82"), (b"n", b"\x00"), (b"r", b"\x1f"),
)  # fmt: skip


def mutate_line(line: bytes, rng: Random) -> bytes:
    """One JSON object as text, with something done to it; never a line end, never blank."""
    if rng.random() < 0.0002:
        return _pad_to(line, (1 << 20) + rng.choice((-1, 0, 1)))
    if rng.random() < 0.35:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            line = rng.choice(_BYTE_MUTATIONS)(line, rng)
    else:
        line = _mutate_json(line, rng)
        if rng.random() < 0.03:
            line = rng.choice(_BYTE_MUTATIONS)(line, rng)
    line = line.replace(b"\n", b" ")
    return line if line and not line.isspace() else b"x"


def mutate_record(record: dict[str, Any], rng: Random, values: Sequence[Any]) -> dict[str, Any]:
    """A copy of a decoded record with one to three changes; ``values`` are what may come in for another value."""
    record = copy.deepcopy(record)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(record))
        if not places:
            return record
        container, key = rng.choice(places)
        action = rng.random()
        if action < 0.15:
            del container[key]
        elif action < 0.25 and isinstance(container, dict):
            container[rng.choice(("extra", "type", str(key) + "_", "context"))] = container.pop(key)
        elif action < 0.35:
            record[f"unknown_{rng.randrange(3)}"] = copy.deepcopy(rng.choice(values))
        else:
            container[key] = copy.deepcopy(rng.choice(values))
    return record


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) below a value."""
    for key in list(container) if isinstance(container, dict) else range(len(container)):
        yield container, key
        if isinstance(container[key], (dict, list)):
            yield from _places(container[key])


# Bytes


def _flip(line: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(line) or 1)
    return line[:at] + bytes([(line[at] if line else 0) ^ (1 << rng.randrange(8))]) + line[at + 1 :]


def _delete(line: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(line) or 1)
    return line[:at] + line[at + rng.choice((1, 1, 2, 8, 40)) :]


def _insert(line: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice((rng.randbytes(1), rng.randbytes(4), b'"', b"{", b"}", b",", b"\\", b"\xef\xbb\xbf")) + line[at:]


def _truncate(line: bytes, rng: Random) -> bytes:
    return line[: rng.randrange(len(line) + 1)]


def _duplicate_slice(line: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + line[at - rng.randrange(at + 1) : at] + line[at:]


def _swap(line: bytes, rng: Random) -> bytes:
    old, new = rng.choice(_SWAPS)
    found = [at for at in range(len(line)) if line.startswith(old, at)]
    if not found:
        return line
    at = rng.choice(found)
    return line[:at] + new + line[at + len(old) :]


_BYTE_MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (_flip, _delete, _insert, _truncate, _duplicate_slice, _swap)


def _pad_to(line: bytes, size: int) -> bytes:
    """The same object with a long string in it, so that the line has exactly this size."""
    head = b'{"blob":"'
    return head + b"A" * (size - len(line) - len(head) - 1) + b'",' + line[1:]


# JSON


def _mutate_json(line: bytes, rng: Random) -> bytes:
    record = json.loads(line)
    raws: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(record))
        container, key = rng.choice(places) if rng.random() < 0.5 else (record, rng.choice(list(record) or ["x"]))
        rng.choice(_JSON_MUTATIONS)(container, key, rng, raws)
        if not record:
            break
    text = json.dumps(record, ensure_ascii=rng.random() < 0.3, separators=rng.choice(((",", ":"), (", ", ": "))))
    for raw in raws:
        text = text.replace(json.dumps(_RAW_MARK), raw, 1).replace(f'"{_RAW_MARK}"', raw, 1)
    if rng.random() < 0.08:
        text = _duplicate_key(text, record, rng)
    if rng.random() < 0.02:
        text = rng.choice((" ", "\t", "\r", "\ufeff", "\x0c", "\u00a0")) + text + rng.choice((" ", "\r", "\x00", "}", "{}", ""))
    return text.encode("utf-8", "surrogatepass")


def _duplicate_key(text: str, record: dict[str, Any], rng: Random) -> str:
    """The same key twice with another value: before (the record's own wins) or after (the other wins)."""
    key, other = rng.choice(list(record) or ["x"]), json.dumps(_value(rng))
    if rng.random() < 0.5:
        return "{" + json.dumps(key) + ":" + other + "," + text[1:] if len(text) > 2 else text
    return text[:-1] + "," + json.dumps(key) + ":" + other + "}"


def _value(rng: Random) -> Any:  # noqa: PLR0911 - one per kind
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(STRINGS)
    if kind == 1:
        return rng.choice(TIMESTAMPS)
    if kind == 2:
        return rng.choice((None, True, False, [], {}, [None], {"a": None}, [[]], {"": 0}))
    if kind == 3:
        return rng.choice((0, 1, -1, 2, 1.5, -0.0, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400))
    if kind == 4:
        return rng.randrange(-(10 ** rng.randrange(1, 19)), 10 ** rng.randrange(1, 19))
    if kind == 5:
        return rng.uniform(-1, 1) * 10 ** rng.randrange(0, 20)
    if kind == 6:
        return {rng.choice(STRINGS): rng.choice((True, False, None, 1, "x")) for _ in range(rng.randrange(3))}
    return rng.choice((" ", "x", "ü")) * rng.choice((1, 64, 65, 256, 257, 2048, 2049, 8192, 8193))


def _drop(container: Any, key: Any, _rng: Random, _raws: list[str]) -> None:
    container.pop(key, None) if isinstance(container, dict) else container.pop(key)


def _replace(container: Any, key: Any, rng: Random, _raws: list[str]) -> None:
    container[key] = _value(rng)


def _null(container: Any, key: Any, rng: Random, _raws: list[str]) -> None:
    container[key] = rng.choice((None, None, "", "null", "undefined", "None", "00000000-0000-0000-0000-000000000000"))


def _raw(container: Any, key: Any, rng: Random, raws: list[str]) -> None:
    container[key] = _RAW_MARK
    raws.append(rng.choice(LITERALS))


def _retime(container: Any, key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict):
        key = rng.choice(("originalTimestamp", "timestamp", "sentAt", "receivedAt", key))
    container[key] = rng.choice(TIMESTAMPS)


def _epoch(container: Any, key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict):
        key = rng.choice(("originalTimestamp", "timestamp", "sentAt", "receivedAt"))
    number = rng.randrange(-(10 ** rng.randrange(9, 19)), 10 ** rng.randrange(9, 19))
    container[key] = number / 1000 if rng.random() < 0.3 else number


def _rename(container: Any, key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict) and key in container:
        container[rng.choice((key.upper(), key + " ", "", "name", "messageId", key[:1] + "\u0301" + key[1:]))] = container.pop(key)


def _unknown(container: Any, _key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict):
        container[
            rng.choice(("projectId", "_metadata", "schemaVersion", "traits", "integrations", "previousId", "groupId", "name"))
        ] = _value(rng)


def _retype(container: Any, _key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict):
        container["type"] = rng.choice(("track", "identify", "page", "screen", "group", "alias", "Track", "", None, 1))


def _version(container: Any, _key: Any, rng: Random, raws: list[str]) -> None:
    if isinstance(container, dict):
        container["schemaVersion"] = rng.choice((1, 2, 3, "1", "2", "02", None, True, [1], 1.5, -1, _RAW_MARK))
        if container["schemaVersion"] == _RAW_MARK:
            raws.append(rng.choice(("1.0", "2.0", "1e0", "0.2e1")))


def _traffic(container: Any, _key: Any, rng: Random, _raws: list[str]) -> None:
    if isinstance(container, dict):
        context = container.get("context")
        if isinstance(context, dict):
            context["traffic"] = rng.choice(("bot", "synthetic", "human", "Bot", None, True, 10**400, ["bot"]))


def _nest(container: Any, key: Any, rng: Random, raws: list[str]) -> None:
    levels = rng.choice((1, 3, 58, 61, 62, 63, 64, 65, 1000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    brackets_in_text = json.dumps("[{" * 40) if rng.random() < 0.2 else "1"
    container[key] = _RAW_MARK
    raws.append(opening * levels + brackets_in_text + closing * levels)


_JSON_MUTATIONS: tuple[Callable[[Any, Any, Random, list[str]], None], ...] = (
    _drop, _drop, _replace, _replace, _replace, _null, _null, _raw, _retime, _epoch, _rename, _unknown, _retype, _version,
    _traffic, _nest,
)  # fmt: skip
