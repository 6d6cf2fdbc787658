"""The directory of collectives: finding them, and reading those that the actor may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, bindparam, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, SlugRedirect
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import Ref, key_of
from services.core import pagination, user_text
from services.core.pagination import Page, PageRequest, Sort
from services.database import fetch

NEWEST_FIRST = Sort("created", col(Collective.created_at), col(Collective.id))
BY_NAME = Sort("name", col(Collective.name), col(Collective.id), descending=False, parse=pagination.as_text)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which collectives to list."""

    type: Sequence[CollectiveType] = ()
    host_id: UUID | None = None
    search: str | None = None
    tag: str | None = None
    is_archived: bool | None = False


def _listed(actor: Actor, wanted: Filter) -> Select[Collective]:
    statement = select(Collective).where(visibility.of_listed_collective(actor))
    if wanted.type:
        statement = statement.where(col(Collective.type).in_(wanted.type))
    if wanted.host_id is not None:
        statement = statement.where(col(Collective.host_id) == wanted.host_id)
    if wanted.tag is not None:
        tags = cast([wanted.tag], ARRAY(Text))
        statement = statement.where(col(Collective.tags).op("@>")(tags))
    if wanted.is_archived is not None:
        archived = col(Collective.archived_at)
        statement = statement.where(archived.is_not(None) if wanted.is_archived else archived.is_(None))
    if wanted.search:
        text = user_text.clean(wanted.search, path=["filter", "search"], max_length=100) or ""
        statement = statement.where(
            col(Collective.name).icontains(text, autoescape=True)
            | col(Collective.slug).startswith(text.lower(), autoescape=True)
        )
    return statement


async def find(
    session: AsyncSession, actor: Actor, *, wanted: Filter, sort: Sort, page: PageRequest
) -> Page[Collective]:
    """List the collectives that the actor may see."""
    if not (wanted.host_id or wanted.tag or wanted.search):
        name = ("collectives", tuple(wanted.type), wanted.is_archived)
        return await fetch.page(
            session,
            actor,
            name=name,
            table=Collective,
            statement=lambda: _listed(actor, wanted),
            sort=sort,
            page=page,
        )
    return await pagination.read(session, _listed(actor, wanted), sort=sort, page=page)


async def by_ids(session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]) -> dict[UUID, Collective]:
    """Return those of the collectives that the actor may see; one statement."""
    return await fetch.by_ids(
        session, actor, table=Collective, may_see=visibility.of_collective, row_ids=row_ids
    )


async def by_ref(session: AsyncSession, actor: Actor, *, ref: Ref) -> Collective | None:
    """Return one collective, or None where there is none that the actor may see; as `refs.resolve`."""
    key = key_of("collective", ref)
    if isinstance(key, UUID):
        return (await by_ids(session, actor, row_ids=[key])).get(key)
    found = await fetch.shown(
        session,
        actor,
        name="by_slug",
        table=Collective,
        build=lambda: _by_slug(actor, key),
        slug=key,
    )
    return found[0] if found else None


def _by_slug(actor: Actor, slug: str) -> Select[Collective]:
    given = bindparam("slug", slug, type_=Text)
    before = select(col(SlugRedirect.collective_id)).where(col(SlugRedirect.slug) == given).scalar_subquery()
    return (
        select(Collective)
        .where(
            or_(col(Collective.slug) == given, col(Collective.id) == before), visibility.of_collective(actor)
        )
        .order_by((col(Collective.slug) == given).desc())
        .limit(1)
    )
