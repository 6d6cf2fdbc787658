"""Loaders: one read for what is asked for at the same moment, and what happens when it fails."""

import asyncio
from typing import Any

import pytest

from dataloaders.batching import Loader, Together


def squares(seen: list[list[int]]) -> Loader[int, int]:
    async def read(keys: list[int]) -> dict[int, int]:
        seen.append(sorted(keys))
        if -1 in keys:
            raise LookupError("no squares today")
        return {key: key * key for key in keys if key != 0}

    return Loader(read)


async def test_what_is_asked_for_together_is_one_read() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    first, second, one = await asyncio.gather(
        loader.load_many([1, 2, 2]), loader.load_many([3, None, 1]), loader.load(4)
    )
    assert (first, second, one) == ([1, 4, 4], [9, None, 1], 16)
    assert seen == [[1, 2, 3, 4]]


async def test_a_key_is_read_once_and_what_names_nothing_is_none() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    assert await loader.load_many([0, 5]) == [None, 25]
    assert await loader.load_many([5, 0, 6]) == [25, None, 36]
    assert (seen, await loader.load(None), await loader.load_many([])) == ([[0, 5], [6]], None, [])


async def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    seen: list[list[int]] = []
    loader = squares(seen)
    found = await asyncio.gather(loader.load(-1), loader.load(7), return_exceptions=True)
    assert [type(each) for each in found] == [LookupError, LookupError]
    assert await loader.load(7) == 49


async def test_one_who_leaves_does_not_take_the_read_from_others() -> None:
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

    asked = Together(many)
    found = await asyncio.gather(*(asked.one(p) for p in ("a", "bad", "b")), return_exceptions=True)
    assert [str(each) for each in found] == ["A", "bad", "B"]
    assert calls == [["a", "bad", "b"]]
    assert await asked.one("again") == "AGAIN"


async def test_too_few_answers_are_an_error() -> None:
    async def many(parents: list[str]) -> list[Any]:
        return parents[1:]

    with pytest.raises(ValueError, match="shorter"):
        await Together(many).one("a")
