"""Parties of an imported ledger: the host, the collective and a user for each counterpart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from sqlalchemy import ARRAY, Text, Uuid, any_, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Member, SlugRedirect, now
from models.enums import CollectiveType, MemberRole
from services.access.collective_refs import require_open
from services.core import slugs
from services.core.errors import Invalid, NotFound
from services.ledger import posting

_HOST, _OWN = "host", "collective"


@dataclass(frozen=True)
class Parties:
    """The host and the collective whose history is imported; they share one currency."""

    host: Collective
    collective: Collective

    @property
    def currency(self) -> str:
        """Currency of both."""
        return self.host.currency


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
        Invalid: the slug is not usable, another host holds its money, or it has another currency.
        InvalidState: it is archived.
    """
    slugs.check(slug, field=_OWN)
    collective = await _load_by_slug(session, slug, lock=True)
    if collective is None:
        return None
    require_open(collective, field=_OWN)
    if collective.id == host.id or collective.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Choose a community or organization that the host holds money for.", field=_OWN)
    if collective.host_id != host.id or collective.host_approved_at is None:
        raise Invalid(f"{slug} is not hosted by {host.slug}.", field=_OWN)
    if collective.currency != host.currency:
        raise Invalid(
            f"{slug} uses {collective.currency}, its host {host.currency}. The file has no exchange rates.",
            field=_OWN,
        )
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


async def create_collective(session: AsyncSession, *, slug: str, host: Collective) -> Collective:
    """Create the community whose history is imported, hosted from the start."""
    collective = Collective(
        slug=slug,
        type=CollectiveType.COMMUNITY,
        name=slug.replace("-", " ").capitalize(),
        currency=host.currency,
        host_id=host.id,
        host_approved_at=now(),
    )
    session.add(collective)
    await session.flush()
    session.add(Member(collective_id=collective.id, member_id=host.id, role=MemberRole.HOST))
    await session.flush()
    await posting.open_balance_account(
        session, book_id=host.id, owner_id=collective.id, currency=collective.currency
    )
    return collective


async def find_or_create_counterparts(
    session: AsyncSession, *, prefix: str, slugs_in_file: Sequence[str], currency: str
) -> tuple[dict[str, Collective], int]:
    """Return an unclaimed user for each slug in the file, and how many of them were created.

    Their ids are derived from the file's slugs, so that a later run finds them even under other names.
    Existing users are never matched by slug; they keep theirs.
    """
    ids = {slug: _counterpart_id(prefix, slug) for slug in slugs_in_file}
    existing = select(Collective).where(col(Collective.id) == any_(literal(list(ids.values()), ARRAY(Uuid))))
    by_id = {row.id: row for row in (await session.execute(existing)).scalars()}
    missing = [slug for slug in slugs_in_file if ids[slug] not in by_id]
    if missing:
        free = await _free_slugs(session, {slug: ids[slug] for slug in missing})
        created = [
            Collective(
                id=ids[slug],
                slug=free[slug],
                type=CollectiveType.USER,
                name=slug,
                currency=currency,
                settings={"importedFrom": f"{prefix}:{slug}"},
            )
            for slug in missing
        ]
        await session.execute(insert(Collective), [row.model_dump() for row in created])
        by_id |= {row.id: row for row in created}
    return {slug: by_id[ids[slug]] for slug in slugs_in_file}, len(missing)


def _counterpart_id(prefix: str, slug: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"{prefix}:account:{slug}")


async def _free_slugs(session: AsyncSession, row_ids: dict[str, UUID]) -> dict[str, str]:
    """Return a slug for each of the file's that nobody has or had, if possible the same one."""
    choices = {slug: _slug_candidates(slug, row_id) for slug, row_id in row_ids.items()}
    candidates = literal(sorted({c for each in choices.values() for c in each}), ARRAY(Text))
    taken = set(slugs.RESERVED)
    for column in (Collective.slug, SlugRedirect.slug):
        rows = await session.execute(select(col(column)).where(col(column) == any_(candidates)))
        taken |= set(rows.scalars())
    free: dict[str, str] = {}
    for slug, each in choices.items():
        free[slug] = next((choice for choice in each if choice not in taken), each[-1])
        taken.add(free[slug])
    return free


def _slug_candidates(slug: str, row_id: UUID) -> list[str]:
    """Return slugs to try, simplest first; the last one is certainly free."""
    stem = re.sub(r"[^a-z0-9]+", "-", slug).strip("-")
    short = stem[: slugs.MAX_LENGTH - 36].strip("-")
    plain = [stem, f"{stem}-oc"]
    return [choice for choice in plain if slugs.MIN_LENGTH <= len(choice) <= slugs.MAX_LENGTH] + [
        f"{short}-oc-{row_id.hex}"
    ]
