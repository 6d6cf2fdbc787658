"""One read for all keys that are asked for at the same moment; a key is read once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_TURNS = 3
"""Turns of the event loop that a read waits, for those who first had to be put together with others."""


class Loader(Generic[K, V]):
    """Keyed access to a set-based read. Unlike one future a key, a list of keys costs one future in all."""

    def __init__(self, read: Callable[[list[K]], Awaitable[dict[K, V]]]) -> None:
        """Read with `read`, which may leave out keys that it does not find."""
        self._read = read
        self._found: dict[K, V | None] = {}
        self._rounds: dict[K, asyncio.Future[None]] = {}
        """The read that each key waits for."""
        self._next: list[K] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: K | None) -> V | None:
        """Return what a key names, or None."""
        return None if key is None else (await self.load_many((key,)))[0]

    async def load_many(self, keys: Sequence[K | None]) -> list[Any]:
        """Return what the keys name, in their order; None for a key that is None or names nothing."""
        found = self._found
        asked = dict.fromkeys(keys)  # a UUID takes long to hash: seldom
        waiting = self._ask([key for key in asked if key is not None and key not in found])
        for reading in waiting:
            # Shielded: a reader that is cancelled must not cancel what others wait for.
            await asyncio.shield(reading)
        return [None if key is None else found[key] for key in keys]

    def _ask(self, keys: Iterable[K]) -> set[asyncio.Future[None]]:
        waiting = set()
        for key in keys:
            if (reading := self._rounds.get(key)) is None:
                reading = self._rounds[self._next[0]] if self._next else self._begin()
                self._next.append(key)
                self._rounds[key] = reading
            waiting.add(reading)
        return waiting

    def _begin(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._wait, _TURNS)
        return loop.create_future()

    def _wait(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._wait, turns - 1)
        else:
            self._dispatch()

    def _dispatch(self) -> None:
        keys, self._next = self._next, []
        task = asyncio.get_running_loop().create_task(self._run(keys))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, keys: list[K]) -> None:
        reading = self._rounds[keys[0]]
        try:
            found = await self._read(keys)
        except BaseException as error:  # noqa: BLE001 - it is raised where the keys are waited for
            _settle(reading, error)
        else:
            self._found.update((key, found.get(key)) for key in keys)
            _settle(reading, None)
        finally:
            for key in keys:
                del self._rounds[key]


class Together:
    """One call for all parents that ask at the same moment; nothing is kept."""

    def __init__(self, many: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> None:
        """Call `many`, which answers in the order of its parents; an exception in its list is raised."""
        self._many = many
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def one(self, parent: Any) -> Any:
        """Return what `many` answers for this parent."""
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
            found = await self._many([parent for parent, _ in waiting])
            answers = list(zip(waiting, found, strict=True))
        except BaseException as error:  # noqa: BLE001 - it is raised where the answers are waited for
            for _, answer in waiting:
                _settle(answer, error)
            return
        for (_, answer), value in answers:
            if isinstance(value, BaseException):
                _settle(answer, value)
            elif not answer.done():
                answer.set_result(value)


def _settle(answer: asyncio.Future[Any], error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
        answer.exception()  # where every reader has gone, it is no news
