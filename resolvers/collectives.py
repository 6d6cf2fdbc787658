"""Collective fields that only some may see, balances and lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

import models
from models.enums import CollectiveType, LedgerAccountKind, MemberRole, Topic
from resolvers.context import Info
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, resolve_one
from services.access.visibility import sees_private
from services.collectives import directory, hosting
from services.collectives import events as event_services
from services.collectives.events import Counts
from services.collectives.members import MembersKey
from services.core.errors import Invalid, NotFound
from services.core.money import Money, known_currency
from services.core.pagination import Page, PageRequest, Sort
from services.ledger.balances import Balance, Owner
from services.messaging import preferences
from services.orders import payment_methods as payment_method_services

Rows = Sequence[models.Collective]


async def one(info: Info, *, ref: Ref) -> models.Collective | None:
    """Return a collective that the viewer may see, or None."""
    return await info.context.run(directory.by_ref, ref=ref)


async def hosts(rows: Rows, info: Info) -> list[models.Collective | None]:
    """Return the host of each; an event has its parent's."""
    load = info.context.loaders.of("collective").load_many
    first = await load([row.parent_id if row.type == CollectiveType.EVENT else row.host_id for row in rows])
    if all(row.type != CollectiveType.EVENT for row in rows):
        return first
    of_parents = await load(
        [
            found.host_id if found and row.type == CollectiveType.EVENT else None
            for row, found in zip(rows, first, strict=True)
        ]
    )
    return [
        of_parent if row.type == CollectiveType.EVENT else found
        for row, found, of_parent in zip(rows, first, of_parents, strict=True)
    ]


async def email(user: models.Collective, info: Info) -> str | None:
    """Return a user's address to themselves and the platform."""
    if not sees_private(info.context.actor, user):
        return None
    return cast("str | None", await info.context.loaders.of("email").load(user.id))


async def muted_topics(user: models.Collective, info: Info) -> list[Topic]:
    """Return what a user has muted, to themselves alone; else nothing."""
    if info.context.actor.id != user.id:
        return []
    return await info.context.run(preferences.muted)


def legal_name(collective: models.Collective, info: Info) -> str | None:
    """Return the legal name to those who read private fields."""
    return collective.legal_name if sees_private(info.context.actor, collective) else None


def location(collective: models.Collective, info: Info) -> str | None:
    """Return where it is; of a person, to themselves."""
    if collective.type == CollectiveType.USER and not sees_private(info.context.actor, collective):
        return None
    return collective.location


async def balances(rows: Rows, info: Info, *, as_of: datetime | None) -> list[list[Balance]]:
    """Return the balances of each; none where the viewer may not see them."""
    return await info.context.loaders.of("balances", as_of=as_of).load_many([Owner.of(row) for row in rows])


async def balance(
    rows: Rows, info: Info, *, currency: str, as_of: datetime | None
) -> list[Balance | NotFound]:
    """Return the balance of each in one currency: zero where it has none, NotFound where it is hidden.

    Raises:
        Invalid: the currency is unknown.
    """
    known_currency(currency, path=["currency"])
    nothing = Balance(currency, as_of or models.now(), 0, 0, 0)

    def one(row: models.Collective, found: list[Balance]) -> Balance | NotFound:
        if not found and row.type != CollectiveType.EVENT:
            return NotFound("You may not see this balance")
        return next((b for b in found if b.currency == currency), nothing)

    return [one(row, found) for row, found in zip(rows, await balances(rows, info, as_of=as_of), strict=True)]


async def members(
    rows: Rows, info: Info, *, of_members: bool, roles: list[MemberRole] | None, page: PageRequest
) -> list[Page[models.Member]]:
    """Return a page of the members of each, or of what it is a member of."""
    key = MembersKey(of_members, tuple(roles or ()), page)
    return await info.context.loaders.of("members", key=key).load_many([row.id for row in rows])


async def counts(events: Rows, info: Info) -> list[Counts]:
    """Return how many are registered for each event, and how many wait."""
    found = await info.context.loaders.of("event.counts").load_many([event.id for event in events])
    return [counts or Counts() for counts in found]


async def events(
    collective: models.Collective, info: Info, *, wanted: event_services.Filter, page: PageRequest
) -> Page[models.Collective]:
    """Return a page of its events."""
    return await info.context.run(event_services.of_parent, parent_id=collective.id, wanted=wanted, page=page)


async def ledger_accounts(
    rows: Rows, info: Info, *, kinds: list[LedgerAccountKind] | None
) -> list[list[models.LedgerAccount]]:
    """Return each host's own accounts, to those who read private finance."""
    loader = info.context.loaders.of("ledger_accounts", kinds=tuple(kinds or ()))
    return await loader.load_many([row.id for row in rows])


async def exchange_positions(rows: Rows, info: Info) -> list[list[Money]]:
    """Return each host's open position by currency, to those who read private finance."""
    found = await ledger_accounts(rows, info, kinds=[LedgerAccountKind.EXCHANGE])
    return [[Money(account.posted, account.currency) for account in accounts] for accounts in found]


async def applications(collective: models.Collective, info: Info) -> list[models.HostApplication]:
    """Return the applications that wait for a host's answer, to its admins."""
    return await info.context.run(hosting.pending, host_id=collective.id)


async def payment_methods(collective: models.Collective, info: Info) -> list[models.PaymentMethod]:
    """Return the ways to give that a host offers."""
    return await info.context.run(_payment_methods, host_id=collective.id)


async def _payment_methods(session: AsyncSession, _: Actor, *, host_id: UUID) -> list[models.PaymentMethod]:
    return await payment_method_services.payment_methods_of(session, host_id=host_id)


async def payout_methods(collective: models.Collective, info: Info) -> list[models.PayoutMethod]:
    """Return where it wants to be paid, to its admins; else nothing."""
    return await info.context.run(payment_method_services.payout_methods_of, owner_id=collective.id)


async def found(
    info: Info,
    *,
    wanted: directory.Filter,
    host: Ref | None,
    sort: Sort,
    page: PageRequest,
) -> Page[models.Collective]:
    """List collectives that the viewer may see."""
    if host is not None:
        party = await info.context.run(resolve_one, host, name="host")
        wanted = directory.Filter(
            type=wanted.type,
            host_id=named(party).id,
            search=wanted.search,
            tag=wanted.tag,
            is_archived=wanted.is_archived,
        )
    return await info.context.run(directory.find, wanted=wanted, sort=sort, page=page)


def slug_or_id(slug: str | None, row_id: str | None) -> Ref:
    """Return the reference of a query's two arguments.

    Raises:
        Invalid: not exactly one is given.
    """
    if (slug is None) == (row_id is None):
        raise Invalid("Give a slug or an id", path=["slug"])
    return Ref(id=row_id, slug=slug)
