"""Sources of subscriptions: visibility is checked at the start, and again for each event."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import models
from resolvers.context import Context, Info
from resolvers.references import load_one_referenced
from services.access import row_visibility
from services.access.collective_refs import CollectiveKey
from services.core import public_ids
from services.core.errors import InvalidState, NotFound
from services.ledger.balances import Balance, Owner
from services.live import event_log
from services.live.broadcaster import Subscriber
from services.live.event_log import Event, Topic


@dataclass(frozen=True)
class EventPayload:
    """The payload of an event that the viewer may see."""

    position: str
    row: Any
    """The order, the transaction, the collective or the attendance."""
    balances: tuple[Balance, ...] = ()

    def repeats(self, other: "EventPayload | None") -> bool:
        """True if both payloads hold the same balances; payloads of other events never repeat."""
        if other is None or not self.balances:
            return False
        return _amounts_of(self) == _amounts_of(other)


def _amounts_of(payload: EventPayload) -> list[tuple[str, int, int, int]]:
    return [(b.currency, b.posted_minor, b.held_minor, b.pending_minor) for b in payload.balances]


LoadEvent = Callable[[Context, Event], Awaitable[EventPayload | None]]


@dataclass(frozen=True)
class EventSource:
    """A stream of events; each is loaded with the viewer's access at that moment."""

    subscriber: Subscriber
    load_event: LoadEvent
    """Loads the payload, or None if the viewer may not see it."""

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        """Yield events as they arrive, in order, in batches."""
        while True:
            yield await self.subscriber.next_batch()


async def watch_order(info: Info, *, public_id: str, after: str | None) -> EventSource:
    """Watch the changes of an order.

    Raises:
        NotFound: there is no such order that the viewer may see.
    """
    row_id = public_ids.decode("Order", public_id, field="id")
    if await info.context.loaders.order.load(row_id) is None:
        raise NotFound("There is no such order", field="id")

    async def load_event(context: Context, event: Event) -> EventPayload | None:
        row = await context.loaders.order.load(event.node_id)
        return _to_payload(event, row)

    return await _watch(info, Topic(event_log.ORDER, row_id), after, load_event)


async def watch_transactions(info: Info, *, collective: CollectiveKey, after: str | None) -> EventSource:
    """Watch the transactions that have a collective on a side, as far as the viewer may know it.

    Raises:
        NotFound: there is no such collective that the viewer may see.
    """
    watched = await load_one_referenced(info, collective, name="collective")

    async def load_event(context: Context, event: Event) -> EventPayload | None:
        row = await context.loaders.transaction.load(event.node_id)
        # Of a giver whom the viewer may not know there is nothing to tell, not even that something happened.
        if row is not None and event.collective_ids[:1] == (watched.id,):
            row = row if row_visibility.can_see_payer(context.actor, row) else None
        return _to_payload(event, row)

    return await _watch(info, Topic(event_log.TRANSACTIONS, watched.id), after, load_event)


async def watch_balance(info: Info, *, collective: CollectiveKey, after: str | None) -> EventSource:
    """Watch the balances of a collective: every change, and the present balances after a resumption.

    Raises:
        NotFound: there is no such collective whose balance the viewer may see.
    """
    watched = await load_one_referenced(info, collective, name="collective")
    if not await _load_balances(info.context, watched):
        raise NotFound("There is no such collective whose balance you may see", field="collective")

    async def load_event(context: Context, event: Event) -> EventPayload | None:
        row = await context.loaders.collective.load(watched.id)
        balances = await _load_balances(context, row) if row else []
        return _to_payload(event, row, tuple(balances)) if balances else None

    return await _watch(info, Topic(event_log.BALANCE, watched.id), after, load_event)


async def _load_balances(context: Context, collective: models.Collective) -> list[Balance]:
    return await context.loaders.balances(None).load(Owner.from_row(collective))


async def watch_check_ins(info: Info, *, event: CollectiveKey, after: str | None) -> EventSource:
    """Watch the check-ins and check-outs of an event.

    Raises:
        NotFound: there is no such event whose check-ins the viewer may see.
    """
    watched = await load_one_referenced(info, event, name="event")
    if not row_visibility.can_watch_check_ins(info.context.actor, watched):
        raise NotFound("There is no such event whose check-ins you may see", field="event")

    async def load_event(context: Context, event: Event) -> EventPayload | None:
        row = await context.loaders.attendance(watched.id).load(event.node_id)
        return _to_payload(event, row)

    return await _watch(info, Topic(event_log.CHECK_INS, watched.id), after, load_event)


async def current_position(info: Info) -> str:
    """Return the position of the operation's snapshot: events that are not in it come after."""
    return event_log.encode_position(await info.context.run(event_log.current_position))


def _to_payload(event: Event, row: Any, balances: tuple[Balance, ...] = ()) -> EventPayload | None:
    return EventPayload(event_log.encode_position(event.resume_point), row, balances) if row else None


async def _watch(info: Info, topic: Topic, after: str | None, load_event: LoadEvent) -> EventSource:
    context = info.context
    if context.live is None:
        raise InvalidState("Subscriptions are not available on this connection.")
    start = None if after is None else event_log.decode_position(after)
    return EventSource(await context.live.subscribe(topic, after=start, token=context.token), load_event)
