"""Keyed access over the services' set-based reads: one statement for all keys of a moment.

A loader adds no SQL, no rule and no check of permission of its own; it lives as long as one operation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from dataloaders.batching import Loader, Together
from models import Attendance, Collective, Order, Redemption
from services.access.actor import Actor
from services.collectives import directory, events, members, platform_policy
from services.identity import email_addresses
from services.ledger import balances
from services.offers import offers, redemptions
from services.orders import expenses, payment_methods, queries
from services.volunteering import check_in, issuers


@dataclass(frozen=True)
class _Read:
    """A set-based read of a service: the name of its keys, and whether it asks for the viewer."""

    service: Callable[..., Awaitable[dict[Any, Any]]]
    keys_as: str
    for_viewer: bool = True


_READS = {
    "collective": _Read(directory.by_ids, "row_ids"),
    "order": _Read(queries.orders_by_ids, "row_ids"),
    "transaction": _Read(queries.transactions_by_ids, "row_ids"),
    "member": _Read(members.by_ids, "row_ids"),
    "offer": _Read(offers.by_ids, "row_ids"),
    "payment_method": _Read(payment_methods.payment_methods_by_ids, "row_ids", for_viewer=False),
    "payout_method": _Read(payment_methods.payout_methods_by_ids, "row_ids"),
    "policy": _Read(platform_policy.policies_by_ids, "row_ids", for_viewer=False),
    "email": _Read(email_addresses.email_of, "user_ids", for_viewer=False),
    "event.counts": _Read(events.counts, "event_ids", for_viewer=False),
    "issuance_caps": _Read(issuers.caps_of, "nonprofit_ids", for_viewer=False),
    "offer.used": _Read(offers.used_this_month, "offer_ids", for_viewer=False),
    "order.actions": _Read(queries.actions_of, "order_ids", for_viewer=False),
    "order.items": _Read(expenses.items_of, "order_ids", for_viewer=False),
    "order.offer": _Read(offers.of_orders, "row_ids", for_viewer=False),
    "order.redemption": _Read(redemptions.of_orders, "order_ids", for_viewer=False),
    "order.transactions": _Read(queries.transactions_of_orders, "order_ids"),
    "transaction.postings": _Read(queries.postings_of, "transaction_ids"),
    "transaction.refunds": _Read(queries.refunds_of, "transaction_ids"),
    "balances": _Read(balances.of, "owners"),
    "members": _Read(members.pages_of, "collective_ids"),
    "offers": _Read(offers.pages_of, "business_ids"),
    "attendances": _Read(check_in.pages_of, "event_ids"),
    "event.attendance": _Read(check_in.of_users, "user_ids"),
    "ledger_accounts": _Read(queries.ledger_accounts, "book_ids"),
}
"""Every read by the name of its loader. Those without a viewer are of what the viewer was shown."""

Run = Callable[..., Awaitable[Any]]


class Loaders:
    """The loaders of one operation, each made when it is first asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._made: dict[Hashable, Loader[Any, Any]] = {}
        self._together: dict[Hashable, Together] = {}

    def of(self, name: str, **arguments: Hashable) -> Loader[Any, Any]:
        """Return the loader of this name; one with arguments for each combination of them."""
        key = (name, *arguments.items())
        if (made := self._made.get(key)) is None:
            made = self._made[key] = Loader(partial(self._read, _READS[name], arguments))
        return made

    async def _read(self, read: _Read, arguments: dict[str, Any], keys: list[Any]) -> dict[Any, Any]:
        service = read.service if read.for_viewer else _without_viewer(read.service)
        found = await self._run(service, **{read.keys_as: keys}, **arguments)
        return cast("dict[Any, Any]", found)

    async def settled(self) -> None:
        """Wait until no read is under way: an operation that ended early may have left some."""
        loaders: list[Loader[Any, Any] | Together] = [*self._made.values(), *self._together.values()]
        for made in loaders:
            while made.tasks:
                await asyncio.wait(made.tasks)

    def forget(self) -> None:
        """Let go of all that was read: else it would live on, in a circle with its operation."""
        self._made.clear()
        self._together.clear()

    def together(self, key: Hashable, many: Callable[[list[Any]], Awaitable[Sequence[Any]]]) -> Together:
        """Return what calls `many` once for all parents that ask under this key at the same moment."""
        if (made := self._together.get(key)) is None:
            made = self._together[key] = Together(many)
        return made

    async def collective(self, row_id: UUID | None) -> Collective | None:
        """Load a collective that the viewer may see."""
        return cast("Collective | None", await self.of("collective").load(row_id))

    async def order(self, row_id: UUID | None) -> Order | None:
        """Load an order that the viewer may see."""
        return cast("Order | None", await self.of("order").load(row_id))

    async def redemption_of(self, order_id: UUID) -> Redemption | None:
        """Load what a redemption says; the resolver asks first whether the viewer is concerned."""
        return cast("Redemption | None", await self.of("order.redemption").load(order_id))

    async def offer_used(self, offer_id: UUID) -> int:
        """Load how often an offer was redeemed in the present month."""
        return cast("int", await self.of("offer.used").load(offer_id))

    async def attendance(self, event_id: UUID, user_id: UUID) -> Attendance | None:
        """Load that a user came to an event, if the viewer runs it."""
        loader = self.of("event.attendance", event_id=event_id)
        return cast("Attendance | None", await loader.load(user_id))


def _without_viewer(service: Callable[..., Awaitable[dict[Any, Any]]]) -> Any:
    """Adapt a read that asks for no viewer: what it reads is reached through what the viewer sees."""

    async def read(session: AsyncSession, _: Actor, **arguments: Any) -> dict[Any, Any]:
        return await service(session, **arguments)

    return read
