"""What a subscription watches: asked first whether the viewer may, and again for each event."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import models
from models.enums import CollectiveType
from resolvers.context import Context, Info
from services.access.collective_refs import Ref, named, resolve_one
from services.access.visibility import sees_private
from services.core import public_ids
from services.core.errors import InvalidState, NotFound
from services.ledger.balances import Balance, Owner
from services.live import event_log
from services.live.broadcaster import Follower
from services.live.event_log import Event, Topic


@dataclass(frozen=True)
class Shown:
    """What one is told of an event that one may see."""

    position: str
    row: Any
    """The order, the transaction, the collective or the attendance."""
    balances: tuple[Balance, ...] = ()

    def repeats(self, other: "Shown | None") -> bool:
        """Whether these are balances, and none is another than it was."""
        if other is None or not self.balances:
            return False
        return _figures(self) == _figures(other)


def _figures(shown: Shown) -> list[tuple[str, int, int, int]]:
    return [(b.currency, b.posted_minor, b.held_minor, b.pending_minor) for b in shown.balances]


Look = Callable[[Context, Event], Awaitable[Shown | None]]
Watch = AsyncIterator[list[Event]]


@dataclass(frozen=True)
class Source:
    """A stream of events, each of which is looked at by the viewer of that moment before it is shown."""

    follower: Follower
    look: Look
    """Return what to show, or None where the viewer may not see it."""

    async def __aiter__(self) -> Watch:
        """Yield events as they come, in order, some at once."""
        while True:
            yield await self.follower.take()


async def order(info: Info, *, public_id: str, after: str | None) -> Source:
    """Watch an order.

    Raises:
        NotFound: there is none that the viewer may see.
    """
    row_id = public_ids.decode("Order", public_id, path=["id"])
    if await info.context.loaders.order(row_id) is None:
        raise NotFound("There is no such order", path=["id"])

    async def look(context: Context, event: Event) -> Shown | None:
        row = await context.loaders.order(event.node_id)
        return Shown(event_log.encode(event.start), row) if row else None

    return await _watched(info, Topic(event_log.ORDER, row_id), after, look)


async def transactions(info: Info, *, collective: Ref, after: str | None) -> Source:
    """Watch what is posted with a collective on a side.

    Raises:
        NotFound: there is no such collective that the viewer may see.
    """
    of = await _collective(info, collective)

    async def look(context: Context, event: Event) -> Shown | None:
        row = await context.loaders.of("transaction").load(event.node_id)
        return Shown(event_log.encode(event.start), row) if row else None

    return await _watched(info, Topic(event_log.TRANSACTIONS, of.id), after, look)


async def balance(info: Info, *, collective: Ref, after: str | None) -> Source:
    """Watch what a collective has. Told are changes alone, and the first time after a resumption.

    Raises:
        NotFound: there is no such collective whose balance the viewer may see.
    """
    of = await _collective(info, collective)
    if not await _balances(info.context, of):
        raise NotFound("There is no such collective whose balance you may see", path=["collective"])

    async def look(context: Context, event: Event) -> Shown | None:
        row = await context.loaders.collective(of.id)
        found = await _balances(context, row) if row else []
        return Shown(event_log.encode(event.start), row, tuple(found)) if row and found else None

    return await _watched(info, Topic(event_log.BALANCE, of.id), after, look)


async def _balances(context: Context, of: models.Collective) -> list[Balance]:
    found = await context.loaders.of("balances", as_of=None).load(Owner.of(of))
    return list(found or ())


async def check_ins(info: Info, *, event: Ref, after: str | None) -> Source:
    """Watch who is checked in to an event, and out.

    Raises:
        NotFound: there is no such event that the viewer runs.
    """
    of = await _collective(info, event, name="event")
    if of.type != CollectiveType.EVENT or not sees_private(info.context.actor, of):
        raise NotFound("There is no such event whose check-ins you may see", path=["event"])

    async def look(context: Context, event: Event) -> Shown | None:
        row = await context.loaders.attendance(of.id, event.node_id)
        return Shown(event_log.encode(event.start), row) if row else None

    return await _watched(info, Topic(event_log.CHECK_INS, of.id), after, look)


async def position(info: Info) -> str:
    """Return the position of the operation's snapshot: what is not in it comes after."""
    return event_log.encode(await info.context.run(event_log.mark))


async def _collective(info: Info, ref: Ref, *, name: str = "collective") -> models.Collective:
    return named(await info.context.run(resolve_one, ref, name=name))


async def _watched(info: Info, topic: Topic, after: str | None, look: Look) -> Source:
    context = info.context
    if context.live is None:
        raise InvalidState("Nothing is told here")
    start = None if after is None else event_log.decode(after)
    return Source(await context.live.follow(topic, after=start, token=context.token), look)
