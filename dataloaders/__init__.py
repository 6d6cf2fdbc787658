"""Keyed access to the services' set-based reads: one statement for all keys requested at the same moment.

A loader adds no SQL, no rule and no permission check of its own; it lives as long as one operation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Generic, Self, TypeVar, overload
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from dataloaders.batching import BatchedCall, Loader
from models import (
    Act,
    Approval,
    Attendance,
    Collective,
    Goal,
    Instrument,
    IssuanceCap,
    LedgerAccount,
    Member,
    Offer,
    Order,
    OrderAction,
    OrderItem,
    PaymentMethod,
    PayoutMethod,
    PlatformPolicy,
    RecurringGift,
    Redemption,
    Tier,
    Transaction,
)
from models.enums import LedgerAccountKind
from services.access import act_log, act_values
from services.access.act_log import VisibleOrigin
from services.access.act_values import ActValue
from services.access.actor import Actor
from services.collectives import directory, event_capacity, goals, members, platform_policy, tiers
from services.collectives.event_capacity import RegistrationCounts
from services.collectives.members import MembersKey
from services.core.pagination import Page, PageRequest
from services.identity import email_addresses
from services.ledger import account_history, balances
from services.ledger import queries as ledger_queries
from services.ledger.account_history import AccountId, AccountStatement, Period
from services.ledger.balances import Balance, Owner
from services.ledger.queries import PostingLine
from services.offers import offers, redemptions
from services.offers.offers import OffersKey
from services.orders import (
    expenses,
    order_details,
    payment_methods,
    payout_methods,
    provider_payments,
    queries,
    settlements,
    two_people,
)
from services.orders.provider_payments import Handover
from services.orders.settlements import SettlementDetails
from services.orders.two_people import ApprovalNeeds
from services.recurring import queries as gift_queries
from services.volunteering import check_in, issuers

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Run = Callable[..., Awaitable[Any]]
"""Calls a service with the operation's session and viewer before its own arguments."""
Read = Callable[[AsyncSession, Actor, list[K]], Awaitable[Mapping[K, V]]]


class LoaderField(Generic[K, V]):
    """An attribute of `Loaders`: a loader that is created on first use."""

    name: str

    def __init__(self, read: Read[K, V]) -> None:
        """Use `read` for the loader."""
        self._read = read

    def __set_name__(self, _: type, name: str) -> None:
        """Keep the attribute's name."""
        self.name = name

    @overload
    def __get__(self, loaders: None, _: type | None = None) -> Self: ...
    @overload
    def __get__(self, loaders: "Loaders", _: type | None = None) -> Loader[K, V]: ...
    def __get__(self, loaders: "Loaders | None", _: type | None = None) -> Self | Loader[K, V]:
        """Return the loader, which from then on is an attribute of the instance."""
        if loaders is None:
            return self
        loader = vars(loaders)[self.name] = loaders.create(self._read)
        return loader

    def of(self, loaders: "Loaders") -> Loader[K, V]:
        """Return the loader of an operation."""
        loader: Loader[K, V] = getattr(loaders, self.name)
        return loader


class Loaders:
    """The loaders of one operation, each created on first use.

    A read without an actor is of details of rows that the viewer has already been allowed to see.
    """

    collective: LoaderField[UUID, Collective | None] = LoaderField(
        lambda session, actor, ids: directory.load_collectives(session, actor, row_ids=ids)
    )
    """Collectives that the viewer may see."""
    email: LoaderField[UUID, str | None] = LoaderField(
        lambda session, _, ids: email_addresses.load_emails(session, user_ids=ids)
    )
    """Email addresses of users; the resolver first checks that the viewer may read them."""
    member: LoaderField[UUID, Member | None] = LoaderField(
        lambda session, actor, ids: members.load_members(session, actor, row_ids=ids)
    )
    """Memberships that the viewer may see."""
    policy: LoaderField[UUID, PlatformPolicy | None] = LoaderField(
        lambda session, _, ids: platform_policy.load_policies(session, row_ids=ids)
    )
    """Versions of the platform policy."""
    registration_counts: LoaderField[UUID, RegistrationCounts | None] = LoaderField(
        lambda session, _, ids: event_capacity.count_by_event(session, event_ids=ids)
    )
    """Numbers of attendees and of people waiting, by event."""
    issuance_caps: LoaderField[UUID, list[IssuanceCap]] = LoaderField(
        lambda session, _, ids: issuers.load_caps(session, nonprofit_ids=ids)
    )
    """Current issuance caps by nonprofit."""
    offer: LoaderField[UUID, Offer | None] = LoaderField(
        lambda session, actor, ids: offers.load_offers(session, actor, row_ids=ids)
    )
    """Offers that the viewer may see."""
    offer_of_order: LoaderField[UUID, Offer | None] = LoaderField(
        lambda session, _, ids: offers.load_offers_of_orders(session, row_ids=ids)
    )
    """Offers that visible orders redeem, active or not."""
    tier: LoaderField[UUID, Tier | None] = LoaderField(
        lambda session, actor, ids: tiers.load_tiers(session, actor, row_ids=ids)
    )
    """Tiers that the viewer may see."""
    recurring_gift: LoaderField[UUID, RecurringGift | None] = LoaderField(
        lambda session, actor, ids: gift_queries.load_gifts(session, actor, row_ids=ids)
    )
    """Recurring gifts that the viewer may see."""
    recurring_gift_of_order: LoaderField[UUID, RecurringGift | None] = LoaderField(
        lambda session, actor, ids: gift_queries.load_gifts_of_orders(session, actor, order_ids=ids)
    )
    """Recurring gifts of visible orders that the viewer may know, by order."""
    tier_of_order: LoaderField[UUID, Tier | None] = LoaderField(
        lambda session, actor, ids: tiers.load_tiers_of_orders(session, actor, row_ids=ids)
    )
    """Tiers of visible orders, archived or not."""
    tiers_of_collective: LoaderField[UUID, list[Tier]] = LoaderField(
        lambda session, _, ids: tiers.list_tiers(session, collective_ids=ids)
    )
    """Open tiers of visible collectives."""
    raised_in_tier: LoaderField[UUID, int | None] = LoaderField(
        lambda session, _, ids: tiers.load_raised(session, tier_ids=ids)
    )
    """What gifts in tiers amount to, less refunds."""
    goals_of_collective: LoaderField[UUID, list[Goal]] = LoaderField(
        lambda session, _, ids: goals.list_goals(session, collective_ids=ids)
    )
    """Goals of visible collectives."""
    redemptions_this_month: LoaderField[UUID, int] = LoaderField(
        lambda session, _, ids: offers.count_redemptions_this_month(session, offer_ids=ids)
    )
    """Numbers of redemptions in the present month, by offer."""
    redemption_of_order: LoaderField[UUID, Redemption | None] = LoaderField(
        lambda session, _, ids: redemptions.load_redemptions(session, order_ids=ids)
    )
    """Details of redemptions; the resolver first checks that the order concerns the viewer."""
    settlement_of_order: LoaderField[UUID, SettlementDetails | None] = LoaderField(
        lambda session, _, ids: settlements.load_settlements(session, order_ids=ids)
    )
    """Payments behind settlements; the resolver first checks that the order concerns the viewer."""
    handover_of_order: LoaderField[UUID, Handover | None] = LoaderField(
        lambda session, actor, ids: provider_payments.load_handovers(session, actor, order_ids=ids)
    )
    """What the viewer needs to pay the orders of givers for whom they act, at payment providers."""
    card: LoaderField[UUID, Instrument | None] = LoaderField(
        lambda session, actor, ids: gift_queries.load_cards(session, actor, row_ids=ids)
    )
    """Cards of givers for whom the viewer acts."""
    order: LoaderField[UUID, Order | None] = LoaderField(
        lambda session, actor, ids: queries.load_orders(session, actor, row_ids=ids)
    )
    """Orders that the viewer may see."""
    actions_of_order: LoaderField[UUID, list[OrderAction]] = LoaderField(
        lambda session, actor, ids: order_details.load_actions(session, actor, order_ids=ids)
    )
    """Histories of visible orders, oldest step first."""
    approvals_of_order: LoaderField[UUID, list[Approval]] = LoaderField(
        lambda session, _, ids: two_people.load_approvals(session, order_ids=ids)
    )
    """Approvals of visible orders that two people approve, the first one first."""
    approval_needs: LoaderField[UUID, ApprovalNeeds | None] = LoaderField(
        lambda session, _, ids: two_people.load_needs(session, order_ids=ids)
    )
    """How many approvals visible orders need and miss."""
    refunded_of_order: LoaderField[UUID, int] = LoaderField(
        lambda session, _, ids: order_details.load_refunded_amounts(session, order_ids=ids)
    )
    """Refunded amounts of orders, in minor units."""
    items_of_order: LoaderField[UUID, list[OrderItem]] = LoaderField(
        lambda session, _, ids: expenses.load_items(session, order_ids=ids)
    )
    """Lines of visible expenses."""
    transactions_of_order: LoaderField[UUID, list[Transaction]] = LoaderField(
        lambda session, actor, ids: queries.load_transactions_of_orders(session, actor, order_ids=ids)
    )
    """Transactions of orders, oldest first, as far as the viewer may see them."""
    payment_method: LoaderField[UUID, PaymentMethod | None] = LoaderField(
        lambda session, _, ids: payment_methods.load_payment_methods(session, row_ids=ids)
    )
    """Payment methods, which everybody may see."""
    payout_method: LoaderField[UUID, PayoutMethod | None] = LoaderField(
        lambda session, actor, ids: payout_methods.load_payout_methods(session, actor, row_ids=ids)
    )
    """Payout methods that the viewer may see."""
    transaction: LoaderField[UUID, Transaction | None] = LoaderField(
        lambda session, actor, ids: queries.load_transactions(session, actor, row_ids=ids)
    )
    """Transactions that the viewer may see."""
    postings_of_transaction: LoaderField[UUID, list[PostingLine]] = LoaderField(
        lambda session, actor, ids: ledger_queries.load_postings(session, actor, transaction_ids=ids)
    )
    """Ledger postings of transactions, on accounts that the viewer may see."""
    ledger_account: LoaderField[UUID, LedgerAccount | None] = LoaderField(
        lambda session, actor, ids: account_history.load_accounts_by_number(session, actor, row_ids=ids)
    )
    """Ledger accounts that the viewer may see, by their number as a UUID."""
    values_of_act: LoaderField[UUID, list[ActValue]] = LoaderField(
        lambda session, _, ids: act_values.load_values(session, act_ids=ids)
    )
    """What visible acts changed, by name."""
    origin_of_act: LoaderField[UUID, VisibleOrigin | None] = LoaderField(
        lambda session, actor, ids: act_log.load_origins(session, actor, act_ids=ids)
    )
    """From where visible acts were made, as far as the viewer may know."""
    refunds_of_transaction: LoaderField[UUID, list[Transaction]] = LoaderField(
        lambda session, actor, ids: queries.load_refunds(session, actor, transaction_ids=ids)
    )
    """Refunds of transactions, oldest first, as far as the viewer may see them."""

    def __init__(self, run: Run) -> None:
        """Create no loader yet."""
        self._run = run
        self._active: list[Loader[Any, Any] | BatchedCall] = []
        self._by_arguments: dict[Hashable, Loader[Any, Any]] = {}
        self._batched_calls: dict[Hashable, BatchedCall] = {}

    def members(self, key: MembersKey) -> Loader[UUID, Page[Member]]:
        """Pages of the members of collectives, or of what they are members of."""
        return self._loader_for(
            ("members", key),
            lambda session, actor, ids: members.list_member_pages(
                session, actor, collective_ids=ids, key=key
            ),
        )

    def acts(self, page: PageRequest, *, is_security: bool) -> Loader[UUID, Page[Act] | None]:
        """Pages of the audit log by collective; None where the viewer may not read it."""
        return self._loader_for(
            ("acts", page, is_security),
            lambda session, actor, ids: act_log.list_pages(
                session, actor, collective_ids=ids, page=page, is_security=is_security
            ),
        )

    def balances(self, as_of: datetime | None) -> Loader[Owner, list[Balance]]:
        """Balances of collectives; no balance at all where the viewer may not see them."""
        return self._loader_for(
            ("balances", as_of),
            lambda session, actor, owners: balances.load_balances(session, actor, owners=owners, as_of=as_of),
        )

    def attendance(self, event_id: UUID) -> Loader[UUID, Attendance | None]:
        """Attendances of users at one event, if the viewer runs it."""
        return self._loader_for(
            ("attendance", event_id),
            lambda session, actor, ids: check_in.load_attendances(
                session, actor, user_ids=ids, event_id=event_id
            ),
        )

    def attendances(self, page: PageRequest) -> Loader[UUID, Page[Attendance]]:
        """Pages of attendances by event, if the viewer runs it."""
        return self._loader_for(
            ("attendances", page),
            lambda session, actor, ids: check_in.list_attendance_pages(
                session, actor, event_ids=ids, page=page
            ),
        )

    def offers(self, key: OffersKey) -> Loader[UUID, Page[Offer]]:
        """Pages of offers by business."""
        return self._loader_for(
            ("offers", key),
            lambda session, actor, ids: offers.list_offer_pages(session, actor, business_ids=ids, key=key),
        )

    def ledger_accounts(self, kinds: tuple[LedgerAccountKind, ...]) -> Loader[UUID, list[LedgerAccount]]:
        """Accounts of hosts' books that the viewer may see; of every kind if none is named."""
        return self._loader_for(
            ("ledger_accounts", kinds),
            lambda session, actor, ids: ledger_queries.load_accounts(
                session, actor, book_ids=ids, kinds=kinds
            ),
        )

    def account_postings(self, period: Period, page: PageRequest) -> Loader[AccountId, Page[PostingLine]]:
        """Pages of the postings of ledger accounts; empty where the viewer may not see them."""
        return self._loader_for(
            ("account_postings", period, page),
            lambda session, actor, keys: account_history.list_posting_pages(
                session, actor, accounts=keys, period=period, page=page
            ),
        )

    def account_statements(self, period: Period) -> Loader[AccountId, AccountStatement | None]:
        """Statements of ledger accounts that the viewer may see."""
        return self._loader_for(
            ("account_statements", period),
            lambda session, actor, keys: account_history.load_statements(
                session, actor, accounts=keys, period=period
            ),
        )

    def batched_call(
        self, key: Hashable, many: Callable[[list[Any]], Awaitable[Sequence[Any]]]
    ) -> BatchedCall:
        """Return the batched call of this key, which calls `many` once for all parents of a moment."""
        if (call := self._batched_calls.get(key)) is None:
            call = self._batched_calls[key] = BatchedCall(many)
            self._active.append(call)
        return call

    async def wait_idle(self) -> None:
        """Wait until no read is in progress: an operation that ended early may have left some."""
        for loader in self._active:
            while loader.tasks:
                await asyncio.wait(loader.tasks)

    def create(self, read: Read[K, V]) -> Loader[K, V]:
        """Create a loader over a service's read."""
        loader: Loader[K, V] = Loader(partial(self._run, read))
        self._active.append(loader)
        return loader

    def _loader_for(self, key: Hashable, read: Read[K, V]) -> Loader[K, V]:
        if (loader := self._by_arguments.get(key)) is None:
            loader = self._by_arguments[key] = self.create(read)
        return loader
