"""Batching: one read for all keys requested at the same moment; no key is read twice."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
COALESCE_TURNS = 3
"""Turns of the event loop between the first key and its read.

A sibling field may need a turn in a `BatchedCall`, and another in a task, before it requests its keys:
without the wait its keys would miss the read and cost a statement of their own.
"""


class Loader(Generic[K, V]):
    """Loads values by key over a set-based read, and keeps them.

    `V` includes None if the read may leave keys out. A list of keys costs one future, not one a key.
    """

    def __init__(self, read: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        """Use `read` for the keys that are not loaded yet."""
        self._read = read
        self._values: dict[K, V] = {}
        self._batches: dict[K, asyncio.Future[None]] = {}
        """The batch that each key waits for."""
        self._next: list[K] = []
        """The keys of the batch that has not been dispatched yet."""
        self.tasks: set[asyncio.Task[None]] = set()
        """The reads in progress."""

    @overload
    async def load(self, key: K) -> V: ...
    @overload
    async def load(self, key: None) -> None: ...
    async def load(self, key: K | None) -> V | None:
        """Load the value of one key; None for None."""
        return None if key is None else (await self.load_many((key,)))[0]

    @overload
    async def load_many(self, keys: Sequence[K]) -> list[V]: ...
    @overload
    async def load_many(self, keys: Sequence[K | None]) -> list[V | None]: ...
    async def load_many(self, keys: Sequence[K | None]) -> list[Any]:
        """Load the values of keys, in the order of the keys; None for None."""
        values = self._values
        distinct = dict.fromkeys(keys)  # hashing a UUID is slow: hash each key as rarely as possible
        for batch in self._join_batches([key for key in distinct if key is not None and key not in values]):
            # Shielded: a reader that is cancelled must not cancel the batch that others wait for.
            await asyncio.shield(batch)
        return [None if key is None else values[key] for key in keys]

    def _join_batches(self, keys: Iterable[K]) -> set[asyncio.Future[None]]:
        batches = set()
        for key in keys:
            if (batch := self._batches.get(key)) is None:
                batch = self._batches[self._next[0]] if self._next else self._begin_batch()
                self._next.append(key)
                self._batches[key] = batch
            batches.add(batch)
        return batches

    def _begin_batch(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._coalesce, COALESCE_TURNS)
        return loop.create_future()

    def _coalesce(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._coalesce, turns - 1)
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        keys, self._next = self._next, []
        task = asyncio.get_running_loop().create_task(self._run(keys))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, keys: list[K]) -> None:
        batch = self._batches[keys[0]]
        try:
            rows: Any = await self._read(keys)
        except BaseException as error:  # noqa: BLE001 - raised to those who wait for the keys
            _finish(batch, error)
        else:
            self._values.update((key, rows.get(key)) for key in keys)
            _finish(batch, None)
        finally:
            for key in keys:
                del self._batches[key]


class BatchedCall:
    """One call for all parents that ask in the same turn of the event loop; keeps no answers."""

    def __init__(self, many: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> None:
        """Use `many`, which answers in the order of its parents; an exception in its list is raised."""
        self._many = many
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        """The calls in progress."""

    async def call(self, parent: Any) -> Any:
        """Return the answer for one parent."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._dispatch)
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((parent, answer))
        return await answer

    def _dispatch(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._run(waiting))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, waiting: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            values = await self._many([parent for parent, _ in waiting])
            answers = list(zip(waiting, values, strict=True))
        except BaseException as error:  # noqa: BLE001 - raised to those who wait for an answer
            for _, answer in waiting:
                _finish(answer, error)
            return
        for (_, answer), value in answers:
            if isinstance(value, BaseException):
                _finish(answer, value)
            elif not answer.done():
                answer.set_result(value)


def _finish(answer: asyncio.Future[Any], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
        answer.exception()  # marks it as retrieved: if every waiter has left, asyncio must not log it
