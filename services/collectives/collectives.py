"""Creating, editing and archiving collectives."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Member, Order, SlugRedirect, now
from models.enums import CollectiveType, MemberRole, OrderStatus
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import slugs, user_text
from services.core.errors import Conflict, Invalid, InvalidState
from services.identity.authentication import require_fiat
from services.ledger import posting
from services.messaging import outbox

CREATABLE = (CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS)
MAX_TAGS = 20
WHOLE_BPS = 10_000
OPEN_STATUSES = (OrderStatus.PENDING, OrderStatus.APPROVED)


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    collective_type: CollectiveType,
    name: str,
    slug: str,
    currency: str,
    description: str | None = None,
    is_host: bool = False,
) -> Collective:
    """Create a community, nonprofit or business, with its creator as first ADMIN.

    With `is_host`, a nonprofit or business holds its own money and can host others that apply to it.

    Raises:
        Invalid: another type, a community as host, or an unusable name, slug or currency.
        Conflict: the slug is taken.
    """
    require(actor, Action.CREATE_COLLECTIVE)
    assert actor.user is not None
    if collective_type not in CREATABLE:
        raise Invalid("Choose COMMUNITY, NONPROFIT or BUSINESS.", field="type")
    if is_host and collective_type == CollectiveType.COMMUNITY:
        raise Invalid(
            "A community cannot be a host. Choose NONPROFIT or BUSINESS, or leave out isHost.", field="isHost"
        )
    await _require_unused_slug(session, slugs.check(slug, field="slug"))
    collective = Collective(
        type=collective_type,
        slug=slug,
        name=user_text.require_text(name, field="name"),
        currency=require_fiat(currency),
        created_by_id=actor.user.id,
        description=user_text.clean_text(description, field="description"),
    )
    session.add(collective)
    await session.flush()
    session.add(build_first_admin(collective, actor.user))
    actor.grant(collective.id, MemberRole.ADMIN)
    if is_host:
        await become_host(session, collective)
    await session.flush()
    await _notify_platform(session, actor, collective)
    return collective


async def _notify_platform(session: AsyncSession, actor: Actor, collective: Collective) -> None:
    """Notify the platform's admins of a new organization, a possible issuer or business."""
    if collective.type == CollectiveType.COMMUNITY or actor.platform_id is None:
        return
    await outbox.mail_admins(
        session,
        collective_ids=[actor.platform_id],
        template="organization_created",
        except_id=actor.id,
        payload={
            "name": collective.name,
            "slug": collective.slug,
            "type": collective.type,
            "by": actor.user.name if actor.user else "",
        },
    )


def build_first_admin(collective: Collective, user: Collective) -> Member:
    """Build the member row that makes a collective's creator its first ADMIN."""
    return Member(
        collective_id=collective.id, member_id=user.id, role=MemberRole.ADMIN, created_by_id=user.id
    )


async def become_host(session: AsyncSession, collective: Collective) -> None:
    """Make an organization the host of its own money, with its own ledger account."""
    collective.host_id, collective.host_approved_at = collective.id, now()
    session.add(Member(collective_id=collective.id, member_id=collective.id, role=MemberRole.HOST))
    await session.flush()
    await posting.open_balance_account(
        session, book_id=collective.id, owner_id=collective.id, currency=collective.currency
    )


async def _require_unused_slug(session: AsyncSession, slug: str) -> None:
    taken = select(
        exists().where(col(Collective.slug) == slug) | exists().where(col(SlugRedirect.slug) == slug)
    )
    if (await session.execute(taken)).scalar_one():
        raise Conflict("This slug is taken. Choose another one.", field="slug")


def require_timezone(name: str) -> str:
    """Return a time zone's name, such as `Europe/Berlin`.

    Raises:
        Invalid: there is no such time zone.
    """
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise Invalid("Enter a time zone such as Europe/Berlin.", field="timezone") from None


async def edit(
    session: AsyncSession, actor: Actor, *, collective: CollectiveKey, changes: dict[str, Any]
) -> Collective:
    """Update the columns in `changes`; after a new slug, the old one redirects here.

    Only the host's ADMINs set `host_fee_bps`. `currency` can change while no money has moved. Locks: the
    collective, if its currency changes.

    Raises:
        Invalid: a value that is not acceptable, or an event's location or time zone.
        Conflict: the slug is taken.
        InvalidState: the collective is archived, or money has moved or is on its way.
    """
    party = await resolve_one(session, actor, collective)
    row = require_collective(party)
    own = {key: value for key, value in changes.items() if key != "host_fee_bps"}
    if own or not changes:
        require(actor, Action.UPDATE_COLLECTIVE, Subject(collective=row))
    if row.type == CollectiveType.EVENT:
        _refuse_event_place(own)
    if "host_fee_bps" in changes:
        require(actor, Action.SET_HOST_FEE, Subject(collective=row, host=party.host))
        row.host_fee_bps = _validate_host_fee_bps(changes["host_fee_bps"])
    require_open(row, field="collective")
    if "slug" in own and own["slug"] != row.slug:
        await _change_slug(session, row, _require_value(own.pop("slug"), "slug"))
    if "currency" in own and own["currency"] != row.currency:
        await _change_currency(session, row, _require_value(own.pop("currency"), "currency"))
    for key, value in own.items():
        setattr(row, key, _validate_change(key, value))
    row.updated_at = now()
    session.add(row)
    await session.flush()
    return row


def _refuse_event_place(changes: dict[str, Any]) -> None:
    """Refuse an event's location and time zone; `events.edit` notifies attendees."""
    for name in ("location", "timezone"):
        if name in changes:
            raise Invalid("Use updateEvent instead, so that attendees are notified.", field=name)


def _require_value(value: str | None, field: str) -> str:
    if value is None:
        raise Invalid("This field cannot be removed.", field=field)
    return value


def _validate_change(key: str, value: Any) -> Any:
    """Return a column's new value, cleaned and validated."""
    field = _to_camel_case(key)
    match key:
        case "name":
            return user_text.require_text(value, field=field)
        case "timezone":
            return require_timezone(value) if value else None
        case "tags":
            return _validate_tags(value or [], field)
        case "slug" | "currency":
            return _require_value(value, field)
        case _:
            return user_text.clean_text(value, field=field)


def _validate_tags(tags: list[str], field: str) -> list[str]:
    if len(tags) > MAX_TAGS:
        raise Invalid(f"Enter at most {MAX_TAGS} tags.", field=field)
    return [user_text.require_text(tag, field=field, max_length=40) for tag in tags]


def _to_camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def _validate_host_fee_bps(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= WHOLE_BPS:
        raise Invalid("Enter a fee from 0 to 10000 basis points.", field="hostFeeBps")
    return value


async def _change_slug(session: AsyncSession, row: Collective, slug: str) -> None:
    own_redirect = select(SlugRedirect).where(
        col(SlugRedirect.slug) == slug, col(SlugRedirect.collective_id) == row.id
    )
    if (await session.execute(own_redirect)).scalar_one_or_none() is None:
        await _require_unused_slug(session, slugs.check(slug, field="slug"))
    redirect = select(SlugRedirect).where(col(SlugRedirect.slug) == row.slug)
    if (await session.execute(redirect)).scalar_one_or_none() is None:
        session.add(SlugRedirect(slug=row.slug, collective_id=row.id))
    row.slug = slug


async def _change_currency(session: AsyncSession, row: Collective, currency: str) -> None:
    has_postings = select(
        exists().where(
            (col(LedgerAccount.owner_id) == row.id) & (col(LedgerAccount.seq) > 0)
            | (col(LedgerAccount.book_id) == row.id) & (col(LedgerAccount.seq) > 0)
        )
    )
    has_open_order = select(
        exists().where(
            or_(col(Order.from_id) == row.id, col(Order.to_id) == row.id),
            col(Order.status).in_(OPEN_STATUSES),
        )
    )
    if row.type == CollectiveType.EVENT:
        raise Invalid("An event uses its parent's currency.", field="currency")
    await lock(session, row.id)
    moved = (await session.execute(has_postings)).scalar_one()
    if moved or (await session.execute(has_open_order)).scalar_one():
        raise InvalidState(
            "The currency cannot change after money has moved or while an order is open.",
            field="currency",
        )
    row.currency = require_fiat(currency)


async def archive(session: AsyncSession, actor: Actor, *, collective: CollectiveKey) -> Collective:
    """Archive a collective and keep its history.

    Locks: its row, so that no new order can be added.

    Raises:
        InvalidState: a balance, a hold or an open order remains, it hosts others, or it is the platform.
    """
    row = require_collective(await resolve_one(session, actor, collective))
    require(actor, Action.ARCHIVE_COLLECTIVE, Subject(collective=row))
    await lock(session, row.id)
    field = "collective"
    checks = select(
        exists().where(
            or_(col(LedgerAccount.owner_id) == row.id, col(LedgerAccount.book_id) == row.id),
            or_(col(LedgerAccount.posted) != 0, col(LedgerAccount.held) != 0),
        ),
        exists().where(
            or_(col(Order.from_id) == row.id, col(Order.to_id) == row.id),
            col(Order.status).in_(OPEN_STATUSES),
        ),
        exists().where(
            col(Collective.host_id) == row.id,
            col(Collective.id) != row.id,
            col(Collective.archived_at).is_(None),
        ),
    )
    has_balance, has_open_order, has_hosted = (await session.execute(checks)).one()
    if has_balance:
        raise InvalidState("The collective still has a balance or a hold. Move its money first.", field=field)
    if has_open_order:
        raise InvalidState("The collective still has an open order. Settle or cancel it first.", field=field)
    if has_hosted or row.is_platform:
        raise InvalidState("The collective hosts other collectives and cannot be archived.", field=field)
    row.archived_at = row.archived_at or now()
    session.add(row)
    await session.flush()
    return row


async def lock(session: AsyncSession, collective_id: UUID) -> None:
    """Lock a collective until commit: nobody else can change it or use it in a new order."""
    await session.execute(
        select(col(Collective.id)).where(col(Collective.id) == collective_id).with_for_update()
    )
