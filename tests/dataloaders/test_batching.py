"""Loaders: one read for all keys requested at the same moment, also when the read fails."""

import asyncio
from typing import Any

import pytest

from dataloaders.batching import BatchedCall, Loader


def squares(seen: list[list[int]]) -> Loader[int, int]:
    async def read(keys: list[int]) -> dict[int, int]:
        seen.append(sorted(keys))
        if -1 in keys:
            raise LookupError("no squares today")
        return {key: key * key for key in keys if key != 0}

    return Loader(read)


async def test_keys_requested_together_are_one_read() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    first, second, one = await asyncio.gather(
        loader.load_many([1, 2, 2]), loader.load_many([3, None, 1]), loader.load(4)
    )
    assert (first, second, one) == ([1, 4, 4], [9, None, 1], 16)
    assert seen == [[1, 2, 3, 4]]


async def test_a_key_is_read_once_and_a_missing_row_is_none() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    assert await loader.load_many([0, 5]) == [None, 25]
    assert await loader.load_many([5, 0, 6]) == [25, None, 36]
    assert (seen, await loader.load_many([None]), await loader.load_many([])) == ([[0, 5], [6]], [None], [])


async def test_an_error_reaches_every_waiter_and_is_not_cached() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    result = await asyncio.gather(loader.load(-1), loader.load(7), return_exceptions=True)
    assert [type(each) for each in result] == [LookupError, LookupError]
    assert await loader.load(7) == 49


async def test_a_cancelled_waiter_does_not_cancel_the_read() -> None:
    loader = squares([])
    leaving, staying = asyncio.create_task(loader.load(8)), asyncio.create_task(loader.load(8))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 64
    assert leaving.cancelled()


async def test_parents_are_answered_together_each_with_its_own_error() -> None:
    calls: list[list[str]] = []

    async def many(parents: list[str]) -> list[Any]:
        calls.append(parents)
        return [ValueError(parent) if parent == "bad" else parent.upper() for parent in parents]

    request = BatchedCall(many)
    result = await asyncio.gather(*(request.call(p) for p in ("a", "bad", "b")), return_exceptions=True)
    assert [str(each) for each in result] == ["A", "bad", "B"]
    assert calls == [["a", "bad", "b"]]
    assert await request.call("again") == "AGAIN"


async def test_too_few_answers_are_an_error() -> None:
    async def many(parents: list[str]) -> list[Any]:
        return parents[1:]

    with pytest.raises(ValueError, match="shorter"):
        await BatchedCall(many).call("a")
