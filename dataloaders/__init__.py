"""Keyed access over the services' set-based reads: one statement for all keys of a moment.

A loader adds no SQL, no rule and no check of permission of its own; it lives as long as one operation.
"""

from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from strawberry.dataloader import DataLoader

from models import (
    Attendance,
    Collective,
    IssuanceCap,
    LedgerAccount,
    Member,
    Offer,
    Order,
    OrderAction,
    OrderItem,
    PaymentMethod,
    PlatformPolicy,
    Redemption,
    Transaction,
)
from models.enums import LedgerAccountKind
from services import (
    attendance,
    balances,
    collectives,
    events,
    expenses,
    identity,
    issuers,
    members,
    methods,
    offers,
    platform,
    reads,
    redemptions,
)
from services.actors import Actor
from services.balances import Balance
from services.events import Counts
from services.members import MembersKey
from services.offers import OffersKey
from services.pages import Page, PageRequest
from services.reads import PostedLine

Run = Callable[..., Awaitable[Any]]
Reader = Callable[..., Awaitable[dict[Any, Any]]]
T = TypeVar("T")


class Loaders:
    """The loaders of one operation; those with arguments are made when first asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._made: dict[Hashable, DataLoader[Any, Any]] = {}

    def _loader(
        self,
        name: Hashable,
        reader: Reader,
        keys_as: str,
        *,
        anonymous: bool = False,
        **arguments: Any,
    ) -> DataLoader[Any, Any]:
        """Return the loader of this name: calls `reader` with the keys as `keys_as`; missing is None."""
        if name not in self._made:

            async def load(keys: list[Any]) -> list[Any]:
                service = _without_actor(reader) if anonymous else reader
                found = await self._run(service, **{keys_as: keys}, **arguments)
                return [found.get(key) for key in keys]

            self._made[name] = DataLoader(load_fn=load)
        return self._made[name]

    async def collective(self, row_id: UUID | None) -> Collective | None:
        """Load a collective that the viewer may see."""
        if row_id is None:
            return None
        loader = self._loader("collective", collectives.by_ids, "row_ids")
        return cast("Collective | None", await loader.load(row_id))

    async def order(self, row_id: UUID | None) -> Order | None:
        """Load an order that the viewer may see."""
        if row_id is None:
            return None
        return cast("Order | None", await self._loader("order", reads.orders_by_ids, "row_ids").load(row_id))

    async def transaction(self, row_id: UUID | None) -> Transaction | None:
        """Load a transaction that the viewer may see."""
        if row_id is None:
            return None
        loader = self._loader("transaction", reads.transactions_by_ids, "row_ids")
        return cast("Transaction | None", await loader.load(row_id))

    async def payment_method(self, row_id: UUID | None) -> PaymentMethod | None:
        """Load a payment method."""
        if row_id is None:
            return None
        loader = self._loader("payment_method", methods.payment_methods_by_ids, "row_ids", anonymous=True)
        return cast("PaymentMethod | None", await loader.load(row_id))

    async def policy(self, row_id: UUID | None) -> PlatformPolicy | None:
        """Load a policy of the platform."""
        if row_id is None:
            return None
        loader = self._loader("policy", platform.policies_by_ids, "row_ids", anonymous=True)
        return cast("PlatformPolicy | None", await loader.load(row_id))

    async def issuance_caps(self, nonprofit_id: UUID) -> list[IssuanceCap]:
        """Load the caps of a nonprofit's issuance that hold now."""
        loader = self._loader("issuance_caps", issuers.caps_of, "nonprofit_ids", anonymous=True)
        return cast("list[IssuanceCap]", await loader.load(nonprofit_id))

    async def member(self, row_id: UUID) -> Member | None:
        """Load a member row that the viewer may see."""
        loader = self._loader("member", members.by_ids, "row_ids")
        return cast("Member | None", await loader.load(row_id))

    async def orders(self, row_ids: list[UUID]) -> list[Order]:
        """Load those of many orders that the viewer may see."""
        loader = self._loader("order", reads.orders_by_ids, "row_ids")
        return [order for order in await loader.load_many(row_ids) if order is not None]

    async def transactions_of_order(self, order_id: UUID) -> list[Transaction]:
        """Load an order's transactions, oldest first."""
        loader = self._loader("order.transactions", reads.transactions_of_orders, "order_ids")
        return cast("list[Transaction]", await loader.load(order_id))

    async def refunds_of(self, transaction_id: UUID) -> list[Transaction]:
        """Load a transaction's refunds, oldest first."""
        loader = self._loader("transaction.refunds", reads.refunds_of, "transaction_ids")
        return cast("list[Transaction]", await loader.load(transaction_id))

    async def postings_of(self, transaction_id: UUID) -> list[PostedLine]:
        """Load a transaction's postings on accounts that the viewer may see."""
        loader = self._loader("transaction.postings", reads.postings_of, "transaction_ids")
        return cast("list[PostedLine]", await loader.load(transaction_id))

    async def actions_of(self, order_id: UUID) -> list[OrderAction]:
        """Load an order's history."""
        loader = self._loader("order.actions", reads.actions_of, "order_ids", anonymous=True)
        return cast("list[OrderAction]", await loader.load(order_id))

    async def items_of(self, order_id: UUID) -> list[OrderItem]:
        """Load an expense's lines."""
        loader = self._loader("order.items", expenses.items_of, "order_ids", anonymous=True)
        return cast("list[OrderItem]", await loader.load(order_id))

    async def offer(self, row_id: UUID) -> Offer | None:
        """Load an offer that the viewer may see."""
        return cast("Offer | None", await self._loader("offer", offers.by_ids, "row_ids").load(row_id))

    async def offer_of_order(self, row_id: UUID | None) -> Offer | None:
        """Load the offer of an order that the viewer may see, ended or not."""
        if row_id is None:
            return None
        loader = self._loader("order.offer", offers.of_orders, "row_ids", anonymous=True)
        return cast("Offer | None", await loader.load(row_id))

    async def offers(self, business_id: UUID, key: OffersKey) -> Page[Offer]:
        """Load a page of a business's offers that the viewer may see."""
        loader = self._loader(("offers", key), offers.pages_of, "business_ids", key=key)
        return cast("Page[Offer]", await loader.load(business_id))

    async def offer_used(self, offer_id: UUID) -> int:
        """Load how often an offer was redeemed in the present month."""
        loader = self._loader("offer.used", offers.used_this_month, "offer_ids", anonymous=True)
        return cast("int", await loader.load(offer_id))

    async def redemption_of(self, order_id: UUID) -> Redemption | None:
        """Load what a redemption says; the resolver asks first whether the viewer is concerned."""
        loader = self._loader("order.redemption", redemptions.of_orders, "order_ids", anonymous=True)
        return cast("Redemption | None", await loader.load(order_id))

    async def email(self, user_id: UUID) -> str | None:
        """Load a user's address; the resolver asks first whether the viewer may see it."""
        loader = self._loader("email", identity.email_of, "user_ids", anonymous=True)
        return cast("str | None", await loader.load(user_id))

    async def balances(self, collective_id: UUID, as_of: datetime | None) -> list[Balance]:
        """Load a collective's balances; empty where the viewer may not see them."""
        loader = self._loader(("balances", as_of), balances.of, "collective_ids", as_of=as_of)
        return cast("list[Balance]", await loader.load(collective_id) or [])

    async def members(self, collective_id: UUID, key: MembersKey) -> Page[Member]:
        """Load a page of a collective's members, or of what it is a member of."""
        loader = self._loader(("members", key), members.pages_of, "collective_ids", key=key)
        return cast("Page[Member]", await loader.load(collective_id))

    async def event_counts(self, event_id: UUID) -> Counts:
        """Load how many are registered for an event, and how many wait."""
        loader = self._loader("event.counts", events.counts, "event_ids", anonymous=True)
        return cast("Counts | None", await loader.load(event_id)) or Counts()

    async def attendances(self, event_id: UUID, page: PageRequest) -> Page[Attendance]:
        """Load a page of those who came to an event; empty where the viewer does not run it."""
        loader = self._loader(("event.attendances", page), attendance.pages_of, "event_ids", page=page)
        return cast("Page[Attendance]", await loader.load(event_id))

    async def attendance(self, event_id: UUID, user_id: UUID) -> Attendance | None:
        """Load that a user came to an event, if the viewer runs it."""
        loader = self._loader(
            ("event.attendance", event_id), attendance.of_users, "user_ids", event_id=event_id
        )
        return cast("Attendance | None", await loader.load(user_id))

    async def ledger_accounts(
        self, book_id: UUID, kinds: tuple[LedgerAccountKind, ...]
    ) -> list[LedgerAccount]:
        """Load a host's own accounts; empty where the viewer may not see them."""
        loader = self._loader(("ledger_accounts", kinds), reads.ledger_accounts, "book_ids", kinds=kinds)
        return cast("list[LedgerAccount]", await loader.load(book_id))


def _without_actor(reader: Reader) -> Reader:
    """Adapt a read that asks for no viewer: what it reads is reached through what the viewer sees."""

    async def read(session: AsyncSession, _: Actor, **arguments: Any) -> dict[Any, Any]:
        return await reader(session, **arguments)

    return read
