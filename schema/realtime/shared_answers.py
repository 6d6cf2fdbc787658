"""Answers of subscriptions that several of one viewer's operations share: each is computed once."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import orjson

from resolvers.subscriptions import EventPayload
from schema.execution.cost_meter import Meter
from schema.execution.operation import OperationRequest, OperationResult
from services.live.event_log import Event

KEEP_SECONDS = 1.0
"""How long an answer is kept for equal operations that are slower; a revoked token is noticed as late."""
POSITION = "position"
"""A document with this word may ask where to resume, which differs between subscribers."""

Answers = list[tuple[EventPayload, OperationResult]]


class Shared(NamedTuple):
    """Answers, and whether another operation had them computed."""

    answers: Answers
    was_shared: bool


def affordable_batches(events: list[Event], meter: Meter) -> Iterator[list[Event]]:
    """Split events into batches whose answers together cost no more than one operation may."""
    size = max(1, meter.settings.max_cost // max(1, meter.requested))
    for start in range(0, len(events), size):
        yield events[start : start + size]


def cost_of(shared: Shared, meter: Meter) -> int:
    """Return the points that answers cost: one each if they were computed for another operation."""
    if shared.was_shared or meter.plan is None:
        return len(shared.answers)
    return sum(meter.plan.actual_cost(result.body.get("data")) for _, result in shared.answers)


class SharedAnswers:
    """The answers that are being computed, and those of the last moment."""

    def __init__(self) -> None:
        """Start without answers."""
        self._tasks: dict[Any, asyncio.Task[Answers]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def get(
        self,
        request: OperationRequest,
        events: list[Event],
        compute: Callable[[], Coroutine[Any, Any, Answers]],
    ) -> Shared:
        """Return the answers to events, computed unless an equal operation of the same viewer has them."""
        key = _key(request, events)
        task = self._tasks.get(key)
        was_shared = task is not None
        if task is None:
            task = self._tasks[key] = asyncio.create_task(compute())
            task.add_done_callback(lambda done: self._forget_later(key, done))
        return Shared(await asyncio.shield(task), was_shared)

    def _forget_later(self, key: Any, task: asyncio.Task[Answers]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._tasks.pop(key, None)
        else:
            asyncio.get_running_loop().call_later(KEEP_SECONDS, self._tasks.pop, key, None)


def _key(request: OperationRequest, events: list[Event]) -> Any:
    variables = orjson.dumps(request.variables or {}, default=str, option=orjson.OPT_SORT_KEYS)
    is_placed = POSITION in request.query
    about = tuple((event.position, event.resume_point if is_placed else None) for event in events)
    return request.token, request.query, request.operation_name, variables, about
