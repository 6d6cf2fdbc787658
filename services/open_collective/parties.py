"""Parties of an imported ledger: the host, the collective and a user for each counterpart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ARRAY, Text, Uuid, any_, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, SlugRedirect, now
from models.enums import CollectiveType, MemberRole
from services.access.collective_refs import require_open
from services.core import slugs
from services.core.errors import Invalid, NotFound
from services.database.insert_rows import insert_rows
from services.ledger import posting

_HOST, _OWN = "host", "collective"
_IMPORTED_FROM = "importedFrom"
"""Setting that keeps the prefix of the first import, as the collective's slug may change."""


@dataclass(frozen=True)
class Parties:
    """The host and the collectives whose history is imported."""

    host: Collective
    currency: str
    """Currency of the file and of the balances that it tells of."""
    collectives: Mapping[str, Collective]
    """By account of the file."""
    counterparts: Mapping[tuple[str, str], Collective]
    """By account and the counterpart's slug in the file."""


async def find_host(session: AsyncSession, *, slug: str) -> Collective:
    """Return the host of this slug.

    Raises:
        NotFound: there is no such collective.
        Invalid: it is not a host.
        InvalidState: it is archived.
    """
    host = await _load_by_slug(session, slug)
    if host is None:
        raise NotFound(f"There is no collective {slug!r}.", field=_HOST)
    if host.host_id != host.id or host.host_approved_at is None:
        raise Invalid(f"{slug} is not a host.", field=_HOST)
    require_open(host, field=_HOST)
    return host


async def find_collective(session: AsyncSession, *, slug: str, host: Collective) -> Collective | None:
    """Return the collective of this slug, locked, or None if there is none yet.

    Raises:
        Invalid: the slug is not usable, or another host holds the collective's money.
        InvalidState: it is archived.
    """
    if slug == host.slug:
        return host
    slugs.check(slug, field=_OWN)
    collective = await _load_by_slug(session, slug, lock=True)
    if collective is None:
        return None
    require_open(collective, field=_OWN)
    if collective.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Choose a community or organization that the host holds money for.", field=_OWN)
    is_imported = _IMPORTED_FROM in collective.settings
    if collective.host_id != host.id or (collective.host_approved_at is None and not is_imported):
        raise Invalid(f"{slug} is not hosted by {host.slug}.", field=_OWN)
    return collective


async def _load_by_slug(session: AsyncSession, slug: str, *, lock: bool = False) -> Collective | None:
    """Find by slug, or by one that it had before."""
    if "\x00" in slug:
        return None
    before = select(col(SlugRedirect.collective_id)).where(col(SlugRedirect.slug) == slug)
    statement = (
        select(Collective)
        .where(or_(col(Collective.slug) == slug, col(Collective.id).in_(before)))
        .order_by((col(Collective.slug) == slug).desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )
    if lock:
        statement = statement.with_for_update()
    return (await session.execute(statement)).scalar_one_or_none()


async def create_collective(
    session: AsyncSession, *, slug: str, host: Collective, currency: str, prefix: str
) -> Collective:
    """Create the community whose history is imported.

    The host approves it when its history is complete: until then nobody can give to it, as a gift of today
    would be followed by no history.
    """
    collective = Collective(
        slug=slug,
        type=CollectiveType.COMMUNITY,
        name=slug.replace("-", " ").capitalize(),
        currency=currency,
        host_id=host.id,
        settings={_IMPORTED_FROM: prefix},
    )
    session.add(collective)
    await session.flush()
    session.add(Member(collective_id=collective.id, member_id=host.id, role=MemberRole.HOST))
    await session.flush()
    await posting.open_balance_account(
        session, book_id=host.id, owner_id=collective.id, currency=collective.currency
    )
    return collective


def import_prefix(collective: Collective | None, *, slug: str) -> str:
    """Return the prefix of the import keys of a collective's history."""
    kept = collective.settings.get(_IMPORTED_FROM) if collective is not None else None
    return kept if isinstance(kept, str) else f"open-collective:{slug}"


async def keep_prefix(session: AsyncSession, collective: Collective, *, prefix: str) -> None:
    """Store the prefix with a collective that was not made by an import."""
    if _IMPORTED_FROM not in collective.settings:
        collective.settings = {**collective.settings, _IMPORTED_FROM: prefix}
        session.add(collective)
        await session.flush()


async def complete(session: AsyncSession, *, slugs_here: Iterable[str], host: Collective) -> None:
    """Let the host approve the collectives whose history is complete now."""
    await session.execute(
        update(Collective)
        .where(
            col(Collective.slug) == any_(literal(sorted(slugs_here), ARRAY(Text))),
            col(Collective.host_id) == host.id,
            col(Collective.host_approved_at).is_(None),
        )
        .values(host_approved_at=now())
    )


async def find_or_create_counterparts(
    session: AsyncSession, *, named: Iterable[tuple[str, str]], currency: str
) -> tuple[dict[tuple[str, str], Collective], int]:
    """Return an unclaimed user for each prefix and slug in the file, and how many of them were created.

    Their ids are derived from both, so that a later run finds them even under other names. Existing users are
    never matched by slug; they keep theirs.
    """
    ids = {name: _counterpart_id(*name) for name in sorted(set(named))}
    existing = select(Collective).where(col(Collective.id) == any_(literal(list(ids.values()), ARRAY(Uuid))))
    by_id = {row.id: row for row in (await session.execute(existing)).scalars()}
    missing = {name: row_id for name, row_id in ids.items() if row_id not in by_id}
    if missing:
        free = await _free_slugs(session, missing)
        created = [
            Collective(
                id=row_id,
                slug=free[row_id],
                type=CollectiveType.USER,
                name=slug,
                currency=currency,
                settings={_IMPORTED_FROM: f"{prefix}:{slug}"},
            )
            for (prefix, slug), row_id in missing.items()
        ]
        await insert_rows(session, created)
        by_id |= {row.id: row for row in created}
    return {name: by_id[row_id] for name, row_id in ids.items()}, len(missing)


def _counterpart_id(prefix: str, slug: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"{prefix}:account:{slug}")


async def _free_slugs(session: AsyncSession, row_ids: Mapping[tuple[str, str], UUID]) -> dict[UUID, str]:
    """Return a slug for each user that nobody has or had, if possible the one in the file."""
    choices = {row_id: _slug_candidates(slug, row_id) for (_, slug), row_id in row_ids.items()}
    candidates = literal(sorted({c for each in choices.values() for c in each}), ARRAY(Text))
    taken = set(slugs.RESERVED)
    for column in (Collective.slug, SlugRedirect.slug):
        rows = await session.execute(select(col(column)).where(col(column) == any_(candidates)))
        taken |= set(rows.scalars())
    free: dict[UUID, str] = {}
    for row_id, each in choices.items():
        free[row_id] = next((choice for choice in each if choice not in taken), each[-1])
        taken.add(free[row_id])
    return free


def _slug_candidates(slug: str, row_id: UUID) -> list[str]:
    """Return slugs to try, simplest first; the last one is certainly free."""
    stem = slugs.derive(slug)
    short = stem[: slugs.MAX_LENGTH - 36].strip("-")
    plain = [stem, f"{stem}-oc"]
    return [choice for choice in plain if slugs.MIN_LENGTH <= len(choice) <= slugs.MAX_LENGTH] + [
        f"{short}-oc-{row_id.hex}"
    ]
