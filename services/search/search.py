"""Search of collectives and offers by words; the database holds an index of folded words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CTE, Integer, Select, case, cast, exists, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Offer
from models.enums import CollectiveType
from services.access.actor import Actor
from services.collectives import directory
from services.collectives.directory import CollectiveFilter
from services.core import pagination, user_text
from services.core.pagination import Page, PageRequest, Sort
from services.offers import offers
from services.offers.offers import OfferFilter
from services.search.highlights import Part, highlight, split_words

MAX_QUERY_LENGTH = 100
MAX_CANDIDATES = 500
"""Matches that are ranked, of collectives and of offers; of more, an arbitrary part."""
_SCORE_UNITS = 1_000_000


class SearchType(StrEnum):
    """Kind of thing that a search can find."""

    USER = "USER"
    """People with a verified email address."""
    COMMUNITY = "COMMUNITY"
    """Groups without a legal entity of their own."""
    NONPROFIT = "NONPROFIT"
    """Nonprofit organizations, hosts among them."""
    BUSINESS = "BUSINESS"
    """Commercial organizations with or without offers."""
    EVENT = "EVENT"
    """Events of other collectives."""
    OFFER = "OFFER"
    """Active offers of businesses."""


class SearchField(StrEnum):
    """Text in which a search finds words."""

    NAME = "NAME"
    """Name of the collective."""
    SLUG = "SLUG"
    """Slug of the collective."""
    TAG = "TAG"
    """One of the collective's tags."""
    ITEM = "ITEM"
    """Item that the offer is for."""
    DESCRIPTION = "DESCRIPTION"
    """Description of the collective or offer."""


@dataclass(frozen=True)
class Highlight:
    """A text that has words of the search, in parts."""

    field: SearchField
    parts: list[Part]


@dataclass(frozen=True)
class Hit:
    """A collective or an offer that was found, its rank, and where it has the words."""

    id: UUID
    score: int
    is_offer: bool
    highlights: list[Highlight]


async def search_everything(
    session: AsyncSession, actor: Actor, *, query: str, types: Sequence[SearchType], page: PageRequest
) -> Page[Hit]:
    """Find what the actor may see and has all words of the query, the best match first; one statement.

    If nothing has all words, find what has some of them. Only open collectives and active offers are found.

    Raises:
        Invalid: the query is empty or too long, or the cursor is not one of this list.
    """
    text = user_text.require_text(query, field="query", max_length=MAX_QUERY_LENGTH)
    hits = _query_hits(actor, text, types)
    sort = Sort("search", hits.c.score, hits.c.id, parse=_parse_score)
    found = pagination.apply_keyset(select(hits), sort=sort, page=page).subquery("found")
    statement = (
        select(found)
        .add_columns(col(Collective.name), col(Collective.slug), col(Collective.tags), col(Offer.item))
        .add_columns(func.coalesce(Collective.description, Offer.description).label("description"))
        .outerjoin(Collective, ~found.c.is_offer & (col(Collective.id) == found.c.id))
        .outerjoin(Offer, found.c.is_offer & (col(Offer.id) == found.c.id))
        .order_by(found.c.score.desc(), found.c.id.desc())
    )
    words = split_words(text)
    rows = [_to_hit(row, words) for row in await session.execute(statement)]
    return pagination.to_page(rows, lambda: select(hits), sort=sort, page=page)


def _parse_score(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _to_hit(row: Any, words: Sequence[str]) -> Hit:
    texts = [
        (SearchField.NAME, row.name),
        (SearchField.ITEM, row.item),
        (SearchField.SLUG, row.slug),
        *((SearchField.TAG, tag) for tag in row.tags or ()),
        (SearchField.DESCRIPTION, row.description),
    ]
    parts = [(field, highlight(text, words)) for field, text in texts if text]
    return Hit(row.id, row.score, row.is_offer, [Highlight(*found) for found in parts if found[1]])


def _query_hits(actor: Actor, text: str, types: Sequence[SearchType]) -> CTE:
    """Select the id and score of what has all words, or if there is none, of what has some."""
    whole = _query_matches(actor, text, types, operator="&").cte("whole")
    some = _query_matches(actor, text, types, operator="|").cte("some")
    return union_all(select(whole), select(some).where(~exists(select(whole.c.id)))).cte("hits")


def _query_matches(
    actor: Actor, text: str, types: Sequence[SearchType], *, operator: Literal["&", "|"]
) -> Any:
    kinds = [CollectiveType(kind) for kind in types if kind != SearchType.OFFER]
    parts = []
    if kinds or not types:
        parts.append(_query_collectives(actor, text, kinds, operator))
    if SearchType.OFFER in types or not types:
        parts.append(_query_offers(actor, text, operator))
    return union_all(*parts)


def _query_collectives(
    actor: Actor, text: str, kinds: Sequence[CollectiveType], operator: Literal["&", "|"]
) -> Select[Any]:
    listed = directory.query_listed(actor, CollectiveFilter(type=kinds))
    matches = listed.where(
        directory.words_of(Collective).op("@@")(directory.search_query(text, operator=operator))
    ).limit(MAX_CANDIDATES)
    row = matches.subquery().c
    # Without the description, which may be long: words that are found there alone rank last.
    words = func.collective_words(row.name, row.slug, None, row.tags)
    return _scored(row.id, words, row.name, text, is_offer=False)


def _query_offers(actor: Actor, text: str, operator: Literal["&", "|"]) -> Select[Any]:
    matches = (
        offers.query_offers(actor, OfferFilter())
        .where(offers.words_of(Offer).op("@@")(directory.search_query(text, operator=operator)))
        .limit(MAX_CANDIDATES)
    )
    row = matches.subquery().c
    return _scored(row.id, func.offer_words(row.item, None), row.item, text, is_offer=True)


def _scored(row_id: Any, words: Any, name: Any, text: str, *, is_offer: bool) -> Select[Any]:
    """Rank by the words in names, then in slugs and tags; first come names that are the whole query."""
    rank = func.ts_rank(words, directory.search_query(text, operator="|"))
    is_name = case((func.fold_words(name) == func.fold_words(text), 1), else_=0)
    score = cast((rank + is_name) * _SCORE_UNITS, Integer)
    return select(row_id.label("id"), score.label("score"), literal(is_offer).label("is_offer"))
