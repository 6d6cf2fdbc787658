"""Who takes part in an imported ledger: the host, the collective, and a row for everybody else."""

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

_HOST, _OWN = ["input", "host"], ["input", "collective"]


@dataclass(frozen=True)
class Parties:
    """The host and the collective whose history is imported; both have one currency."""

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
        Invalid: it holds nobody's money.
        InvalidState: it is archived.
    """
    host = await _by_slug(session, slug)
    if host is None:
        raise NotFound(f"There is no collective {slug!r}", path=_HOST)
    if host.host_id != host.id or host.host_approved_at is None:
        raise Invalid(f"{slug} is no host", path=_HOST)
    require_open(host, path=_HOST)
    return host


async def find_collective(session: AsyncSession, *, slug: str, host: Collective) -> Collective | None:
    """Return the collective of this slug, locked, or None where there is none yet.

    Raises:
        Invalid: its slug cannot be one, another host holds its money, or it has another currency.
        InvalidState: it is archived.
    """
    slugs.check(slug, path=_OWN)
    found = await _by_slug(session, slug, lock=True)
    if found is None:
        return None
    require_open(found, path=_OWN)
    if found.id == host.id or found.type in {CollectiveType.USER, CollectiveType.EVENT}:
        raise Invalid("Only what a host holds money for has a history to import", path=_OWN)
    if found.host_id != host.id or found.host_approved_at is None:
        raise Invalid(f"{slug} is not hosted by {host.slug}", path=_OWN)
    if found.currency != host.currency:
        raise Invalid(
            f"{slug} keeps {found.currency}, its host {host.currency}: the file has no rates",
            path=_OWN,
        )
    return found


async def _by_slug(session: AsyncSession, slug: str, *, lock: bool = False) -> Collective | None:
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
    """Make the community whose history is imported, hosted from the start."""
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
    await posting.open_account(session, book_id=host.id, owner_id=collective.id, currency=collective.currency)
    return collective


async def counterparts(
    session: AsyncSession, *, prefix: str, slugs_in_file: Sequence[str], currency: str
) -> tuple[dict[str, Collective], int]:
    """Return the unclaimed user that stands for each slug of the file, and how many were made now.

    Their ids follow from the file's slugs, so that a later run finds them, whatever they are called
    by then. Nobody who is here already is taken for one of the file: who has the slug keeps it.
    """
    ids = {slug: _id(prefix, slug) for slug in slugs_in_file}
    known = select(Collective).where(col(Collective.id) == any_(literal(list(ids.values()), ARRAY(Uuid))))
    by_id = {row.id: row for row in (await session.execute(known)).scalars()}
    missing = [slug for slug in slugs_in_file if ids[slug] not in by_id]
    if missing:
        free = await _free_slugs(session, {slug: ids[slug] for slug in missing})
        made = [
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
        await session.execute(insert(Collective), [row.model_dump() for row in made])
        by_id |= {row.id: row for row in made}
    return {slug: by_id[ids[slug]] for slug in slugs_in_file}, len(missing)


def _id(prefix: str, slug: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"{prefix}:account:{slug}")


async def _free_slugs(session: AsyncSession, wanted: dict[str, UUID]) -> dict[str, str]:
    """Return a slug that nobody has or had for each of the file's, its own where it can be."""
    choices = {slug: _choices(slug, row_id) for slug, row_id in wanted.items()}
    asked = literal(sorted({c for each in choices.values() for c in each}), ARRAY(Text))
    taken = set(slugs.RESERVED)
    for column in (Collective.slug, SlugRedirect.slug):
        found = await session.execute(select(col(column)).where(col(column) == any_(asked)))
        taken |= set(found.scalars())
    free: dict[str, str] = {}
    for slug, each in choices.items():
        free[slug] = next((choice for choice in each if choice not in taken), each[-1])
        taken.add(free[slug])
    return free


def _choices(slug: str, row_id: UUID) -> list[str]:
    """Return slugs to try: the plainest first, the last one is its own for certain."""
    stem = re.sub(r"[^a-z0-9]+", "-", slug).strip("-")
    short = stem[: slugs.MAX_LENGTH - 36].strip("-")
    plain = [stem, f"{stem}-oc"]
    return [choice for choice in plain if slugs.MIN_LENGTH <= len(choice) <= slugs.MAX_LENGTH] + [
        f"{short}-oc-{row_id.hex}"
    ]
