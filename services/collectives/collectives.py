"""Creating and editing collectives."""

from typing import Any
from uuid import UUID

from sqlalchemy import Exists, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, HostApplication, LedgerAccount, Member, Order, SlugRedirect, now
from models.enums import CollectiveType, MemberRole, OrderStatus
from services.access import attempt_limits
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, require_collective, require_open, resolve_one
from services.access.permissions import Action, Subject, require
from services.core import slugs, user_text
from services.core.errors import Conflict, Invalid, InvalidState, RateLimited
from services.core.text_folding import fold_text
from services.core.time_zones import find_time_zone
from services.core.web_addresses import clean_url
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
    tags: list[str] | None = None,
    is_host: bool = False,
    per_day: int,
) -> Collective:
    """Create a community, nonprofit or business, with its creator as first ADMIN.

    With `is_host`, a nonprofit or business also applies to the platform to be a host; as `applyAsHost`.

    Raises:
        Invalid: another type, a community as host, or an unusable name, slug, tag or currency.
        Conflict: the slug is taken.
        RateLimited: the actor has created `per_day` within a day.
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
    if not await attempt_limits.consume_creation(session, user_id=actor.user.id, per_day=per_day):
        raise RateLimited("You have created too many collectives within a day. Try again tomorrow.", field=())
    collective = Collective(
        type=collective_type,
        slug=slug,
        name=user_text.require_name(name, field="name"),
        currency=require_fiat(currency),
        created_by_id=actor.user.id,
        description=user_text.clean_text(description, field="description"),
        tags=_validate_tags(tags or [], "tags"),
    )
    session.add(collective)
    await session.flush()
    session.add(build_first_admin(collective, actor.user))
    actor.grant(collective.id, MemberRole.ADMIN)
    await session.flush()
    await _notify_platform(session, actor, collective)
    if is_host:
        await file_host_application(session, actor, collective)
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


async def file_host_application(
    session: AsyncSession, actor: Actor, collective: Collective, *, message: str | None = None
) -> HostApplication:
    """Ask the platform to let an organization hold its own money and that of others.

    Raises:
        Conflict: from the database, if another application of it is pending.
    """
    assert actor.user is not None
    application = HostApplication(
        collective_id=collective.id,
        host_id=collective.id,
        created_by_id=actor.user.id,
        message=user_text.clean_text(message, field="message"),
    )
    session.add(application)
    await session.flush()
    if actor.platform_id is not None:
        await outbox.mail_admins(
            session,
            collective_ids=[actor.platform_id],
            template="host_requested",
            except_id=actor.id,
            payload={"host": collective.name, "slug": collective.slug},
        )
    return application


async def become_host(session: AsyncSession, collective: Collective) -> None:
    """Make an organization that the platform approved the host of its own money, with its own account."""
    collective.host_id, collective.host_approved_at = collective.id, now()
    session.add(Member(collective_id=collective.id, member_id=collective.id, role=MemberRole.HOST))
    await session.flush()
    await posting.open_balance_account(
        session, book_id=collective.id, owner_id=collective.id, currency=collective.currency
    )


async def end_hosting(session: AsyncSession, collective: Collective) -> None:
    """Take a collective from its host. Callers hold its lock and know that no money is there."""
    await session.execute(
        update(Member)
        .where(
            col(Member.collective_id) == collective.id,
            col(Member.role) == MemberRole.HOST,
            col(Member.until).is_(None),
        )
        .values(until=func.greatest(now(), col(Member.since)))
        .execution_options(synchronize_session=False)
    )
    collective.host_id = collective.host_approved_at = collective.host_fee_bps = None
    collective.updated_at = now()
    await session.flush()


async def _require_unused_slug(session: AsyncSession, slug: str) -> None:
    taken = select(
        exists().where(col(Collective.slug) == slug) | exists().where(col(SlugRedirect.slug) == slug)
    )
    if (await session.execute(taken)).scalar_one():
        raise Conflict("This slug is taken. Choose another one.", field="slug")


def require_timezone(name: str) -> str:
    """Return a time zone's present name, such as `Europe/Berlin`.

    Raises:
        Invalid: there is no such time zone.
    """
    found = find_time_zone(name)
    if found is None:
        raise Invalid("Enter a time zone such as Europe/Berlin.", field="timezone")
    return found


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
    if row.type != CollectiveType.USER and own.get("locale") is not None:
        raise Invalid("Only a user chooses a language for mails and pages.", field="locale")
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
            return user_text.require_name(value, field=field)
        case "timezone":
            return require_timezone(value) if value else None
        case "website" | "image_url":
            return clean_url(value, field=field)
        case "tags":
            return _validate_tags(value or [], field)
        case "slug" | "currency":
            return _require_value(value, field)
        case _:
            return value if key == "locale" else user_text.clean_text(value, field=field)


def _validate_tags(tags: list[str], field: str) -> list[str]:
    if len(tags) > MAX_TAGS:
        raise Invalid(f"Enter at most {MAX_TAGS} tags.", field=field)
    # Tags are one whatever their case and accents; the database requires it, too.
    names = [user_text.require_name(tag, field=field, max_length=40) for tag in tags]
    return list({fold_text(name): name for name in reversed(names)}.values())[::-1]


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
    if row.type == CollectiveType.EVENT:
        raise Invalid("An event uses its parent's currency.", field="currency")
    await lock(session, row.id)
    moved = (await session.execute(has_postings)).scalar_one()
    if moved or await has_open_order(session, row.id):
        raise InvalidState(
            "The currency cannot change after money has moved or while an order is open.",
            field="currency",
        )
    row.currency = require_fiat(currency)


async def has_open_order(session: AsyncSession, collective_id: UUID) -> bool:
    """Return True if an order from or to the collective is not settled yet."""
    return bool((await session.execute(select(open_order_exists(collective_id)))).scalar_one())


def open_order_exists(collective_id: UUID) -> Exists:
    """True in SQL if an order from or to the collective is not settled yet."""
    is_side = or_(col(Order.from_id) == collective_id, col(Order.to_id) == collective_id)
    return exists().where(is_side, col(Order.status).in_(OPEN_STATUSES))


async def lock(session: AsyncSession, collective_id: UUID) -> None:
    """Lock a collective until commit: nobody else can change it or use it in a new order."""
    await session.execute(
        select(col(Collective.id)).where(col(Collective.id) == collective_id).with_for_update()
    )
