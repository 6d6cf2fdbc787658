"""Collectives: making, editing and archiving them."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, LedgerAccount, Member, Order, SlugRedirect, now
from models.enums import CollectiveType, MemberRole, OrderStatus
from services.access.actor import Actor
from services.access.collective_refs import Ref, named, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import slugs, user_text
from services.core.errors import Conflict, Invalid, InvalidState
from services.identity.authentication import fiat
from services.ledger import posting
from services.messaging import outbox

CREATABLE = (CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS)
MAX_TAGS = 20
OPEN = (OrderStatus.PENDING, OrderStatus.APPROVED)


async def create(
    session: AsyncSession,
    actor: Actor,
    *,
    type: CollectiveType,  # noqa: A002 - the field's name
    name: str,
    slug: str,
    currency: str,
    description: str | None = None,
    is_host: bool = False,
) -> Collective:
    """Create a community, nonprofit or business whose first ADMIN is the maker.

    A nonprofit or business with `is_host` holds its own money, and others' that apply to it.
    """
    require(actor, Action.CREATE_COLLECTIVE)
    assert actor.user is not None
    if type not in CREATABLE:
        raise Invalid("Make a COMMUNITY, a NONPROFIT or a BUSINESS", path=["input", "type"])
    if is_host and type == CollectiveType.COMMUNITY:
        raise Invalid("A community has a host, it cannot be one", path=["input", "isHost"])
    await _require_free(session, slugs.check(slug, path=["input", "slug"]))
    collective = Collective(
        type=type,
        slug=slug,
        name=user_text.required(name, path=["input", "name"]),
        currency=fiat(currency),
        created_by_id=actor.user.id,
        description=user_text.clean(description, path=["input", "description"]),
    )
    session.add(collective)
    await session.flush()
    session.add(first_admin(collective, actor.user))
    actor.gains(collective.id, MemberRole.ADMIN)
    if is_host:
        await become_host(session, collective)
    await session.flush()
    await _tell_platform(session, actor, collective)
    return collective


async def _tell_platform(session: AsyncSession, actor: Actor, collective: Collective) -> None:
    """Tell the platform's admins of a new organization, which may ask to issue or to redeem currents."""
    if collective.type == CollectiveType.COMMUNITY or actor.platform_id is None:
        return
    await outbox.to_admins(
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


def first_admin(collective: Collective, user: Collective) -> Member:
    """Return the row that makes a user an ADMIN of what they made."""
    return Member(
        collective_id=collective.id, member_id=user.id, role=MemberRole.ADMIN, created_by_id=user.id
    )


async def become_host(session: AsyncSession, collective: Collective) -> None:
    """Let an organization hold its own money: host of itself, with a book of its own."""
    collective.host_id, collective.host_approved_at = collective.id, now()
    session.add(Member(collective_id=collective.id, member_id=collective.id, role=MemberRole.HOST))
    await session.flush()
    await posting.open_account(
        session, book_id=collective.id, owner_id=collective.id, currency=collective.currency
    )


async def _require_free(session: AsyncSession, slug: str) -> None:
    taken = select(
        exists().where(col(Collective.slug) == slug) | exists().where(col(SlugRedirect.slug) == slug)
    )
    if (await session.execute(taken)).scalar_one():
        raise Conflict("This slug is taken", path=["input", "slug"])


def zone(name: str) -> str:
    """Return the name of a time zone.

    Raises:
        Invalid: there is none of this name.
    """
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise Invalid("This is not a time zone's name", path=["input", "timezone"]) from None


async def edit(
    session: AsyncSession, actor: Actor, *, collective: Ref, changes: dict[str, Any]
) -> Collective:
    """Change what `changes` names; a new slug keeps the old one leading here.

    `host_fee_bps` is the host's to set; `currency` only while there is no ledger account.
    """
    party = await resolve_one(session, actor, collective)
    row = named(party)
    own = {key: value for key, value in changes.items() if key != "host_fee_bps"}
    if own or not changes:
        require(actor, Action.UPDATE_COLLECTIVE, Subject(collective=row))
    if row.type == CollectiveType.EVENT:
        _require_not_told(own)
    if "host_fee_bps" in changes:
        require(actor, Action.SET_HOST_FEE, Subject(collective=row, host=party.host))
        row.host_fee_bps = _bps(changes["host_fee_bps"])
    require_open(row, path=["input", "collective"])
    if "slug" in own and own["slug"] != row.slug:
        await _rename(session, row, _kept(own.pop("slug"), ["input", "slug"]))
    if "currency" in own and own["currency"] != row.currency:
        await _change_currency(session, row, _kept(own.pop("currency"), ["input", "currency"]))
    for key, value in own.items():
        setattr(row, key, _edited(key, value))
    row.updated_at = now()
    session.add(row)
    await session.flush()
    return row


def _require_not_told(changes: dict[str, Any]) -> None:
    """Keep the place of an event, of which its attendees must hear, for updateEvent."""
    for name in ("location", "timezone"):
        if name in changes:
            raise Invalid("Use updateEvent: those who are registered hear of it", path=["input", name])


def _kept(value: str | None, path: list[str]) -> str:
    if value is None:
        raise Invalid("This cannot be taken away", path=path)
    return value


def _edited(key: str, value: Any) -> Any:
    """Return the new value of a column, checked."""
    path = ["input", _camel(key)]
    match key:
        case "name":
            return user_text.required(value, path=path)
        case "timezone":
            return zone(value) if value else None
        case "tags":
            return _tags(value or [], path)
        case "slug" | "currency":
            return _kept(value, path)
        case _:
            return user_text.clean(value, path=path)


def _tags(given: list[str], path: list[str]) -> list[str]:
    if len(given) > MAX_TAGS:
        raise Invalid(f"A collective has at most {MAX_TAGS} tags", path=path)
    return [user_text.required(tag, path=path, max_length=40) for tag in given]


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def _bps(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 10_000:  # noqa: PLR2004 - the whole, in basis points
        raise Invalid("A fee is 0 to 10000 basis points", path=["input", "hostFeeBps"])
    return value


async def _rename(session: AsyncSession, row: Collective, slug: str) -> None:
    back = select(SlugRedirect).where(
        col(SlugRedirect.slug) == slug, col(SlugRedirect.collective_id) == row.id
    )
    earlier = (await session.execute(back)).scalar_one_or_none()
    if earlier is None:
        await _require_free(session, slugs.check(slug, path=["input", "slug"]))
    known = select(SlugRedirect).where(col(SlugRedirect.slug) == row.slug)
    if (await session.execute(known)).scalar_one_or_none() is None:
        session.add(SlugRedirect(slug=row.slug, collective_id=row.id))
    row.slug = slug


async def _change_currency(session: AsyncSession, row: Collective, currency: str) -> None:
    used = select(
        exists().where(
            (col(LedgerAccount.owner_id) == row.id) & (col(LedgerAccount.seq) > 0)
            | (col(LedgerAccount.book_id) == row.id) & (col(LedgerAccount.seq) > 0)
        )
    )
    waiting = select(
        exists().where(
            or_(col(Order.from_id) == row.id, col(Order.to_id) == row.id),
            col(Order.status).in_(OPEN),
        )
    )
    if row.type == CollectiveType.EVENT:
        raise Invalid("An event has its parent's currency", path=["input", "currency"])
    await lock(session, row.id)
    moved = (await session.execute(used)).scalar_one()
    if moved or (await session.execute(waiting)).scalar_one():
        raise InvalidState(
            "The currency cannot change once money has moved or is on its way",
            path=["input", "currency"],
        )
    row.currency = fiat(currency)


async def archive(session: AsyncSession, actor: Actor, *, collective: Ref) -> Collective:
    """Put a collective away; its history stays. Locks: its row, so that no new order slips in.

    Raises:
        InvalidState: a balance, a hold or an open order remains, it hosts others, or it is the platform.
    """
    row = named(await resolve_one(session, actor, collective))
    require(actor, Action.ARCHIVE_COLLECTIVE, Subject(collective=row))
    await lock(session, row.id)
    path = ["input", "collective"]
    checks = select(
        exists().where(
            or_(col(LedgerAccount.owner_id) == row.id, col(LedgerAccount.book_id) == row.id),
            or_(col(LedgerAccount.posted) != 0, col(LedgerAccount.held) != 0),
        ),
        exists().where(
            or_(col(Order.from_id) == row.id, col(Order.to_id) == row.id),
            col(Order.status).in_(OPEN),
        ),
        exists().where(
            col(Collective.host_id) == row.id,
            col(Collective.id) != row.id,
            col(Collective.archived_at).is_(None),
        ),
    )
    balance, orders, hosted = (await session.execute(checks)).one()
    if balance:
        raise InvalidState("A balance or a hold remains", path=path)
    if orders:
        raise InvalidState("An order is still open", path=path)
    if hosted or row.is_platform:
        raise InvalidState("Others are hosted here", path=path)
    row.archived_at = row.archived_at or now()
    session.add(row)
    await session.flush()
    return row


async def lock(session: AsyncSession, collective_id: UUID) -> None:
    """Keep others from changing the collective or taking it as an order's side until commit."""
    await session.execute(
        select(col(Collective.id)).where(col(Collective.id) == collective_id).with_for_update()
    )


async def touch(session: AsyncSession, collective_id: UUID) -> None:
    """Note that the collective changed."""
    await session.execute(
        update(Collective).where(col(Collective.id) == collective_id).values(updated_at=func.now())
    )
