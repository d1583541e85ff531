"""A disk that is full from some write on: nothing is lost, and once there is room the same command ends as if nothing had been."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from lake.storage.local import LocalStorage
from tests.support.mended import MendedShop, State, repaired_state


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    return repaired_state(tmp_path_factory.mktemp("repaired") / "shop")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> MendedShop:
    mended = MendedShop(tmp_path_factory.mktemp("kept") / "shop")
    mended.save()
    return mended


def _full_after(writes: int, write: Callable[..., Any], done: list[str]) -> Callable[..., Any]:
    def full(storage: LocalStorage, *given: Any, **named: Any) -> Any:
        if len(done) >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(str(given[0]))
        return write(storage, *given, **named)

    return full


@pytest.mark.parametrize("writes", [4, *(pytest.param(writes, marks=pytest.mark.long) for writes in (2, 3, 5))])
def test_full_from_some_write_on_and_given_again(writes: int, kept: MendedShop, expected: State) -> None:
    kept.put_back()
    done: list[str] = []
    with (
        mock.patch.object(LocalStorage, "put_if_absent", _full_after(writes, LocalStorage.put_if_absent, done)),
        mock.patch.object(LocalStorage, "upload", _full_after(writes, LocalStorage.upload, done)),
        pytest.raises(Exception, match="No space left on device"),
    ):
        kept.reprocess()
    assert kept.shop.ledger().balanced
    kept.reprocess()
    assert kept.found() == expected
