"""Which subtask of a job Flink gives an element to, and names for elements so that each subtask gets one."""

from __future__ import annotations

from collections.abc import Callable

MAX_PARALLELISM = 128  # key groups: fixed, so that a job can start again with another parallelism
_INT, _LONG = 2**32, 2**64


def salts_for(name: Callable[[int, int], bytes], readers: int, parallelism: int) -> tuple[int, ...]:
    """Salts that spread readers over subtasks.

    Flink keys a splittable DoFn by its element, and two elements may well hash to one subtask: the other would idle for ever.

    Args:
        name: the element of (reader, salt), bytes.
        readers: how many.
        parallelism: of the job.

    Returns:
        A salt for each, so that reader i lands on subtask i modulo ``parallelism``.
    """
    salts = []
    for reader in range(readers):
        salt = 0
        while subtask_of(name(reader, salt), parallelism) != reader % parallelism:
            salt += 1
        salts.append(salt)
    return tuple(salts)


def subtask_of(element: bytes, parallelism: int) -> int:
    """Which subtask of a keyed operator gets an element of type bytes.

    Source: Flink's KeyGroupRangeAssignment and MathUtils.murmurHash; Beam's SdfFlinkKeyKeySelector encodes the element in nested
    form, a length and the bytes, and FlinkKey hashes that (older runners, without FlinkKey, hash otherwise).
    """
    return _murmur(_murmur3_128(_nested(element))) % MAX_PARALLELISM * parallelism // MAX_PARALLELISM


def _murmur3_128(key: bytes) -> int:
    """``Hashing.murmur3_128().hashBytes(key).asInt()``: the low 32 bits of MurmurHash3 x64 128 with seed 0."""
    first = second = 0
    whole = len(key) // 16 * 16
    for at in range(0, whole, 16):
        low, high = int.from_bytes(key[at : at + 8], "little"), int.from_bytes(key[at + 8 : at + 16], "little")
        first = (_rotated(first ^ _mixed_low(low), 27, 64) + second) % _LONG * 5 + 0x52DCE729
        second = (_rotated(second ^ _mixed_high(high), 31, 64) + first) % _LONG * 5 + 0x38495AB5
        first, second = first % _LONG, second % _LONG
    first ^= _mixed_low(int.from_bytes(key[whole : whole + 8], "little")) ^ len(key)
    second ^= _mixed_high(int.from_bytes(key[whole + 8 :], "little")) ^ len(key)
    first = (first + second) % _LONG
    second = (second + first) % _LONG
    return (_finished(first) + _finished(second)) % _INT


def _mixed_low(value: int) -> int:
    return _rotated(value * 0x87C37B91114253D5 % _LONG, 31, 64) * 0x4CF5AD432745937F % _LONG


def _mixed_high(value: int) -> int:
    return _rotated(value * 0x4CF5AD432745937F % _LONG, 33, 64) * 0x87C37B91114253D5 % _LONG


def _finished(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD % _LONG
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 % _LONG
    return value ^ value >> 33


def _nested(element: bytes) -> bytes:
    size, length = len(element), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes(length) + element


def _murmur(code: int) -> int:
    code = code * 0xCC9E2D51 % _INT
    code = _rotated(code, 15) * 0x1B873593 % _INT
    code = (_rotated(code, 13) * 5 + 0xE6546B64) % _INT
    code ^= 4
    code = (code ^ code >> 16) * 0x85EBCA6B % _INT
    code = (code ^ code >> 13) * 0xC2B2AE35 % _INT
    code ^= code >> 16
    signed = code - _INT if code >= _INT // 2 else code
    return 0 if signed == -_INT // 2 else abs(signed)


def _rotated(code: int, bits: int, width: int = 32) -> int:
    return (code << bits | code >> (width - bits)) % (1 << width)
