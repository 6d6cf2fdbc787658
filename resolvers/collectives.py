"""Private fields, balances and lists of collectives."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import models
from models.enums import CollectiveType, LedgerAccountKind, Locale, MemberRole, Topic
from resolvers.context import Info
from resolvers.references import FILTER, load_one_referenced
from services.access import row_visibility
from services.access.collective_refs import CollectiveKey
from services.collectives import directory, hosting
from services.collectives import events as event_services
from services.collectives.event_capacity import RegistrationCounts
from services.collectives.members import MembersKey
from services.core.errors import Invalid
from services.core.money import Money, require_currency
from services.core.pagination import Page, PageRequest, Sort
from services.identity import email_changes, identities
from services.ledger.balances import Balance, Owner
from services.messaging import preferences
from services.orders import payment_methods as payment_method_services
from services.orders import payout_methods as payout_method_services

Rows = Sequence[models.Collective]


async def load_collective(info: Info, *, ref: CollectiveKey) -> models.Collective | None:
    """Load a collective, or None if there is none that the viewer may see."""
    return await info.context.run(directory.load_by_ref, ref=ref)


async def load_hosts(rows: Rows, info: Info) -> list[models.Collective | None]:
    """Load the host of each collective; an event has its parent's host."""
    load = info.context.loaders.collective.load_many
    parents_or_hosts = await load(
        [row.parent_id if row.type == CollectiveType.EVENT else row.host_id for row in rows]
    )
    if all(row.type != CollectiveType.EVENT for row in rows):
        return parents_or_hosts
    hosts_of_parents = await load(
        [
            parent.host_id if parent and row.type == CollectiveType.EVENT else None
            for row, parent in zip(rows, parents_or_hosts, strict=True)
        ]
    )
    return [
        host_of_parent if row.type == CollectiveType.EVENT else host
        for row, host, host_of_parent in zip(rows, parents_or_hosts, hosts_of_parents, strict=True)
    ]


async def load_email(user: models.Collective, info: Info) -> str | None:
    """Load a user's email address, or None if the viewer may not read it."""
    if not row_visibility.can_read_private(info.context.actor, user):
        return None
    return await info.context.loaders.email.load(user.id)


async def load_pending_email(user: models.Collective, info: Info) -> str | None:
    """Load the new address that waits for a user's proof; None for any other viewer."""
    if not row_visibility.can_read_preferences(info.context.actor, user):
        return None
    return await info.context.run(email_changes.load_pending_email)


async def list_identities(user: models.Collective, info: Info) -> list[models.Identity]:
    """List a user's identities at other providers; none for any other viewer."""
    if not row_visibility.can_read_preferences(info.context.actor, user):
        return []
    return await info.context.run(identities.list_own)


async def list_muted_topics(user: models.Collective, info: Info) -> list[Topic]:
    """List the topics that a user has muted; none for any other viewer."""
    if not row_visibility.can_read_preferences(info.context.actor, user):
        return []
    return await info.context.run(preferences.list_muted_topics)


def read_locale(user: models.Collective, info: Info) -> Locale | None:
    """Return the language that a user chose; None for any other viewer."""
    return user.locale if row_visibility.can_read_preferences(info.context.actor, user) else None


def read_legal_name(collective: models.Collective, info: Info) -> str | None:
    """Return the legal name, or None if the viewer may not read private fields."""
    return collective.legal_name if row_visibility.can_read_private(info.context.actor, collective) else None


def read_suspension_reason(host: models.Collective, info: Info) -> str | None:
    """Return why a host was suspended, or None if the viewer may not read private fields."""
    return host.host_suspension_reason if row_visibility.can_read_private(info.context.actor, host) else None


def read_location(collective: models.Collective, info: Info) -> str | None:
    """Return the location, or None if it is a person's and the viewer may not read it."""
    return collective.location if row_visibility.can_read_location(info.context.actor, collective) else None


async def load_balances(rows: Rows, info: Info, *, as_of: datetime | None) -> list[list[Balance]]:
    """Load the balances of each collective; none if the viewer may not see them."""
    return await info.context.loaders.balances(as_of).load_many([Owner.from_row(row) for row in rows])


async def load_balance_in(
    rows: Rows, info: Info, *, currency: str, as_of: datetime | None
) -> list[Balance | None]:
    """Load the balance of each collective in one currency: zero if it has none, None if it is hidden.

    Raises:
        Invalid: the currency is unknown.
    """
    require_currency(currency, field="currency")
    zero = Balance(currency, as_of or models.now(), 0, 0, 0)

    def pick(row: models.Collective, balances: list[Balance]) -> Balance | None:
        if not balances and row.type != CollectiveType.EVENT:
            return None
        return next((b for b in balances if b.currency == currency), zero)

    return [
        pick(row, balances)
        for row, balances in zip(rows, await load_balances(rows, info, as_of=as_of), strict=True)
    ]


async def list_members(
    rows: Rows, info: Info, *, of_members: bool, roles: list[MemberRole] | None, page: PageRequest
) -> list[Page[models.Member]]:
    """List a page of the members of each collective, or of what each is a member of."""
    key = MembersKey(of_members, tuple(roles or ()), page)
    return await info.context.loaders.members(key).load_many([row.id for row in rows])


async def load_registration_counts(events: Rows, info: Info) -> list[RegistrationCounts]:
    """Load the numbers of people registered and waiting for each event."""
    counts = await info.context.loaders.registration_counts.load_many([event.id for event in events])
    return [of_event or RegistrationCounts() for of_event in counts]


async def list_attendances(events: Rows, info: Info, *, page: PageRequest) -> list[Page[models.Attendance]]:
    """List a page of the attendances at each event; empty if the viewer does not run it."""
    return await info.context.loaders.attendances(page).load_many([event.id for event in events])


async def load_invitee(invitation: models.Invitation, info: Info) -> models.Collective | None:
    """Load the invited user, or None if that would reveal the owner of an email address."""
    if not row_visibility.can_see_invitee(info.context.actor, invitation):
        return None
    return await info.context.loaders.collective.load(invitation.user_id)


async def list_events(
    collective: models.Collective, info: Info, *, filters: event_services.EventFilter, page: PageRequest
) -> Page[models.Collective]:
    """List a page of the collective's events."""
    return await info.context.run(
        event_services.list_events, parent_id=collective.id, filters=filters, page=page
    )


async def list_ledger_accounts(
    rows: Rows, info: Info, *, kinds: list[LedgerAccountKind] | None
) -> list[list[models.LedgerAccount]]:
    """List the accounts in the book of each host that the viewer may see."""
    loader = info.context.loaders.ledger_accounts(tuple(kinds or ()))
    return await loader.load_many([row.id for row in rows])


async def list_exchange_positions(rows: Rows, info: Info) -> list[list[Money]]:
    """List the open exchange position of each host by currency, as far as the viewer may see it."""
    books = await list_ledger_accounts(rows, info, kinds=[LedgerAccountKind.EXCHANGE])
    return [[Money(account.posted, account.currency) for account in accounts] for accounts in books]


async def list_pending_applications(
    collective: models.Collective, info: Info
) -> list[models.HostApplication]:
    """List the applications pending at a host that the viewer may see, oldest first."""
    return await info.context.run(hosting.list_pending, host_id=collective.id)


async def list_payment_methods(collective: models.Collective, info: Info) -> list[models.PaymentMethod]:
    """List the payment methods that a host offers."""
    return await info.context.run(payment_method_services.list_payment_methods, host_id=collective.id)


async def load_fixed_fees(methods: Sequence[models.PaymentMethod], info: Info) -> list[Money | None]:
    """Load the fixed fees of payment methods, in the currencies of their hosts."""
    hosts = await info.context.loaders.collective.load_many([method.host_id for method in methods])
    return [
        Money(method.fee_fixed_minor, host.currency) if host else None
        for method, host in zip(methods, hosts, strict=True)
    ]


async def list_payout_methods(collective: models.Collective, info: Info) -> list[models.PayoutMethod]:
    """List the payout methods of a collective that the viewer may see, oldest first."""
    return await info.context.run(payout_method_services.list_payout_methods, owner_id=collective.id)


async def list_collectives(
    info: Info,
    *,
    filters: directory.CollectiveFilter,
    host: CollectiveKey | None,
    sort: Sort,
    page: PageRequest,
) -> Page[models.Collective]:
    """List collectives that the viewer may see."""
    if host is not None:
        referenced = await load_one_referenced(info, host, name="host", within=FILTER)
        filters = replace(filters, host_id=referenced.id)
    return await info.context.run(directory.list_collectives, filters=filters, sort=sort, page=page)


def to_collective_key(slug: str | None, row_id: str | None) -> CollectiveKey:
    """Return the key that a query's two arguments name.

    Raises:
        Invalid: both are given, or neither.
    """
    if (slug is None) == (row_id is None):
        raise Invalid("Give either a slug or an ID.", field="slug")
    return CollectiveKey(id=row_id, slug=slug)
