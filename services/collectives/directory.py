"""Directory of collectives: searching, and loading those the actor may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, Integer, Select, Text, bindparam, false, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, SlugRedirect
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import Actor
from services.access.collective_refs import CollectiveKey, ref_key
from services.core import pagination, user_text
from services.core.pagination import Page, PageRequest, Sort
from services.database import fetch

NEWEST_FIRST = Sort("created", col(Collective.created_at), col(Collective.id))
BY_NAME = Sort(
    "name", col(Collective.name), col(Collective.id), descending=False, parse=pagination.parse_text
)


@dataclass(frozen=True, kw_only=True)
class CollectiveFilter:
    """Conditions for listing collectives; all must hold."""

    type: Sequence[CollectiveType] = ()
    host_id: UUID | None = None
    search: str | None = None
    """The clean text of a search."""
    tag: str | None = None
    is_archived: bool | None = False


def clean_search(search: str | None) -> str | None:
    """Return the clean text of a search, or None without one.

    Raises:
        Invalid: the text is too long or has characters that no text may have.
    """
    return user_text.clean_text(search, field="filter.search", max_length=100) if search else None


@dataclass(frozen=True, kw_only=True)
class CollectiveRow:
    """The id or the lower-case slug of one collective."""

    id: UUID | None = None
    slug: str | None = None


def select_listed(
    actor: Actor, *, where: CollectiveFilter, owner: object = None
) -> tuple[Select[Collective]]:
    """Select the collectives of a list, which has no owner."""
    assert owner is None
    return (query_listed(actor, where),)


def select_viewer(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Collective]]:
    """Select the collective of the signed-in user; nothing if nobody is signed in."""
    assert owner is None and where is not None
    return (select(Collective).where(visibility.is_viewer(actor)),)


def select_by_ref(actor: Actor, *, where: CollectiveRow, owner: object = None) -> tuple[Select[Collective]]:
    """Select the collective of a reference, if the actor may see it; its id or slug may be an expression."""
    assert owner is None
    if where.id is None:
        return (_query_by_slug(actor, where.slug),)
    visible = visibility.collective_is_visible(actor)
    return (select(Collective).where(col(Collective.id) == where.id, visible),)


def select_nothing(actor: object, *, where: object, owner: object = None) -> tuple[Select[Collective]]:
    """Select no collective: what an id of something else names."""
    del actor, where, owner
    return (select(Collective).where(false()),)


def query_listed(actor: Actor, filters: CollectiveFilter) -> Select[Collective]:
    """Select the collectives that the actor may see in lists."""
    statement = select(Collective).where(visibility.collective_is_listed(actor))
    if filters.type:
        statement = statement.where(col(Collective.type).in_(filters.type))
    if filters.host_id is not None:
        statement = statement.where(col(Collective.host_id) == filters.host_id)
    if filters.tag is not None:
        # The condition on `tags` makes the partial index usable.
        folded_tags = func.fold_tags(col(Collective.tags), type_=ARRAY(Text))
        statement = statement.where(
            folded_tags.op("@>")(func.fold_tags(array([filters.tag], type_=Text))),
            col(Collective.tags) != literal_column("'{}'"),
        )
    if filters.is_archived is not None:
        archived = col(Collective.archived_at)
        statement = statement.where(archived.is_not(None) if filters.is_archived else archived.is_(None))
    if filters.search is not None:
        statement = statement.where(words_of(Collective).op("@@")(search_query(filters.search)))
    return statement


def words_of(table: Any) -> Any:
    """Build the words by which a search finds a collective; an index holds them."""
    return func.collective_words(table.name, table.slug, table.description, table.tags)


def search_query(text: Any, *, operator: Literal["&", "|"] = "&", weight: Literal["", "A"] = "") -> Any:
    """Build the query for rows with words that begin with each word of a text, or with any of them.

    With the weight A, the words must be in the name. A text without words finds nothing.
    """
    return func.search_query(text, f" {operator} ", weight)


@dataclass(frozen=True)
class TagCount:
    """A tag, in its most frequent spelling, and how many collectives have it."""

    name: str
    count: int


@dataclass(frozen=True)
class MostFrequent:
    """The number of tags to list."""

    limit: int


_TAG_PLACE: Any = literal_column("place", Integer)
TAGS_BY_COUNT = Sort("TAGS_BY_COUNT", _TAG_PLACE, _TAG_PLACE, descending=False)


def select_tags(actor: Actor, *, where: MostFrequent, owner: object = None) -> tuple[Select[Any]]:
    """Select the most frequent tags of the collectives that the actor may see."""
    del owner  # of all collectives
    listed = (
        query_listed(actor, CollectiveFilter())
        .where(col(Collective.tags) != literal_column("'{}'"))
        .with_only_columns(func.unnest(Collective.tags).label("tag"))
        .subquery()
    )
    folded = func.fold_text(listed.c.tag)
    order = (func.count().desc(), folded)
    tags = (
        select(
            func.mode().within_group(listed.c.tag).label("name"),
            func.count().label("count"),
            func.row_number().over(order_by=order).label("place"),
        )
        .group_by(folded)
        .order_by(*order)
        .limit(literal_column(str(where.limit)))
        .subquery("tags")
    )
    return (select(tags),)


async def list_tags(session: AsyncSession, actor: Actor, *, limit: int) -> list[TagCount]:
    """List the most frequent tags of the collectives that the actor may see; one statement."""
    (statement,) = select_tags(actor, where=MostFrequent(limit))
    rows = await session.execute(statement.order_by(TAGS_BY_COUNT.key))
    return [TagCount(row.name, row.count) for row in rows]


async def list_collectives(
    session: AsyncSession, actor: Actor, *, filters: CollectiveFilter, sort: Sort, page: PageRequest
) -> Page[Collective]:
    """List a page of the collectives that the actor may see."""
    if filters.host_id is None and filters.tag is None and filters.search is None:
        name = ("collectives", tuple(filters.type), filters.is_archived)
        return await fetch.fetch_page(
            session,
            actor,
            name=name,
            table=Collective,
            statement=lambda: query_listed(actor, filters),
            sort=sort,
            page=page,
        )
    return await pagination.list_page(session, query_listed(actor, filters), sort=sort, page=page)


async def load_collectives(
    session: AsyncSession, actor: Actor, *, row_ids: Sequence[UUID]
) -> dict[UUID, Collective]:
    """Load the collectives that the actor may see; one statement."""
    return await fetch.fetch_by_ids(
        session, actor, table=Collective, is_visible=visibility.collective_is_visible, row_ids=row_ids
    )


async def load_by_ref(session: AsyncSession, actor: Actor, *, ref: CollectiveKey) -> Collective | None:
    """Load a collective by id or slug, present or former; None unless the actor may see it."""
    key = ref_key("collective", ref)
    if isinstance(key, UUID):
        return (await load_collectives(session, actor, row_ids=[key])).get(key)
    rows = await fetch.fetch_rows(
        session,
        actor,
        name="by_slug",
        table=Collective,
        build=lambda: _query_by_slug(actor, bindparam("slug", key, type_=Text)),
        slug=key,
    )
    return rows[0] if rows else None


def _query_by_slug(actor: Actor, slug: Any) -> Select[Collective]:
    redirected_id = (
        select(col(SlugRedirect.collective_id)).where(col(SlugRedirect.slug) == slug).scalar_subquery()
    )
    return (
        select(Collective)
        .where(
            or_(col(Collective.slug) == slug, col(Collective.id) == redirected_id),
            visibility.collective_is_visible(actor),
        )
        .order_by((col(Collective.slug) == slug).desc())
        .limit(1)
    )
