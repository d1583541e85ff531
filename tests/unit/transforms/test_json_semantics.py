"""What becomes of JSON that libraries read in different ways: each case between two sound records, which it must not touch."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.codes import Code
from contracts.spec.project import Project
from tests.support.processes import PROJECT
from transforms.decode.kernel import RecordDecoder
from transforms.read.messages import MessageBatch

SPEC, CONTRACT = Project.load(PROJECT).source("web")
TIMES = b'"originalTimestamp":"2026-11-01T12:00:00Z"'
HEAD = b'{"type":"track","event":"Viewed","userId":"u",' + TIMES
SOUND = HEAD + b',"messageId":"g","properties":{"x":1}}'


def record(rest: bytes) -> bytes:
    return HEAD + b"," + rest + b"}"


def properties(text: bytes) -> bytes:
    return record(b'"messageId":"a","properties":' + text)


def nested(levels: int) -> bytes:
    return b'{"x":' * levels + b"1" + b"}" * levels


# Case, record, and its event id and properties.
ACCEPTED = {
    "of a key that comes twice the last counts": (record(b'"messageId":"a","messageId":"b"'), "b", None),
    "also inside": (properties(b'{"x":1,"x":2}'), "a", '{"x":2}'),
    "keys are sorted": (properties(b'{"b":1,"a":2}'), "a", '{"a":2,"b":1}'),
    "an exponent": (properties(b'{"x":1e0}'), "a", '{"x":1.0}'),
    "a point": (properties(b'{"x":1.0}'), "a", '{"x":1.0}'),
    "zeros at the end": (properties(b'{"x":1.50}'), "a", '{"x":1.5}'),
    "beyond 64 bits": (properties(b'{"x":18446744073709551617}'), "a", '{"x":18446744073709551617}'),
    "minus nought": (properties(b'{"x":-0}'), "a", '{"x":0}'),
    "an escaped NUL": (record(b'"messageId":"a\\u0000b"'), "a\0b", None),
    "an escaped key": (record(b'"\\u006dessageId":"a"'), "a", None),
    "blanks and tabs": (properties(b'{"x" :\t1}'), "a", '{"x":1}'),
}
REJECTED = {
    "a number beyond a double": (properties(b'{"x":1e400}'), Code.OUT_OF_RANGE),
    "half of a surrogate pair": (record(b'"messageId":"\\ud800"'), Code.MALFORMED),
    "a control character": (record(b'"messageId":"a\x01b"'), Code.MALFORMED),
    "NaN": (properties(b'{"x":NaN}'), Code.MALFORMED),
    "a number for a text": (record(b'"messageId":5'), Code.WRONG_TYPE),
    "no UTF-8 in a column": (record(b'"messageId":"\xff"'), Code.INVALID_ENCODING),
    "no UTF-8 inside": (properties(b'{"x":"\xff"}'), Code.INVALID_ENCODING),
    "no end": (properties(b'{"x":1}')[:-1], Code.MALFORMED),
    "text behind the end": (properties(b"{}") + b" x", Code.MALFORMED),
    "2,000 levels": (properties(nested(2_000)), Code.TOO_DEEP),
    "a list for an object": (properties(b"[1]"), Code.WRONG_TYPE),
    "a nought in front": (properties(b'{"x":01}'), Code.MALFORMED),
    "no object": (b"[1]", Code.MALFORMED),
}


def decode(line: bytes) -> tuple[list[tuple[str, str]], list[str]]:
    """Event id and properties of the rows, codes of the dead letters; the case stands between two sound records."""
    lines = [SOUND, line, SOUND]
    numbers = np.arange(len(lines))
    decoded = RecordDecoder(CONTRACT, SPEC, "run").decode(MessageBatch(["kafka:t:id:0"] * 3, numbers, numbers, numbers, lines))
    rows = decoded.rows.select(["event_id", "properties"]).to_pylist()
    return [(row["event_id"], row["properties"]) for row in rows], decoded.dead_letters.column("code").to_pylist()


GOOD = ("g", '{"x":1}')


@pytest.mark.parametrize("case", ACCEPTED)
def test_json_is_read_so(case: str) -> None:
    line, event_id, held = ACCEPTED[case]
    assert decode(line) == ([GOOD, (event_id, held), GOOD], [])


@pytest.mark.parametrize("case", REJECTED)
def test_json_is_refused_so(case: str) -> None:
    line, code = REJECTED[case]
    assert decode(line) == ([GOOD, GOOD], [code])
