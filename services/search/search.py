"""Search of collectives and offers by words; the database holds an index of folded words."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    Integer,
    Select,
    Text,
    Uuid,
    case,
    cast,
    column,
    exists,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
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
from services.search import highlights

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
class Part:
    """A stretch of a text, which matches the search or does not."""

    text: str
    is_match: bool


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
    object_type: Literal["Collective", "Offer"]
    highlights: list[Highlight]


@dataclass(frozen=True)
class SearchFilter:
    """The clean text of a search, and the types of which things are found; all if none is named."""

    query: str
    types: tuple[SearchType, ...] = ()


def _parse_score(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


BEST_FIRST = Sort("search", column("score", Integer), column("id", Uuid), parse=_parse_score)
_PLACE: Any = column("place", Integer)
HIGHLIGHTS_IN_ORDER = Sort("highlight", _PLACE, _PLACE, descending=False)


def clean_query(query: str) -> str:
    """Return the clean text of a search.

    Raises:
        Invalid: the query is empty or too long.
    """
    return user_text.require_text(query, field="query", max_length=MAX_QUERY_LENGTH)


async def search_everything(
    session: AsyncSession, actor: Actor, *, query: str, types: Sequence[SearchType], page: PageRequest
) -> Page[Hit]:
    """Find what the actor may see and has all words of the query, the best match first; one statement.

    If nothing has all words, find what has some of them. Only open collectives and active offers are found.

    Raises:
        Invalid: the query is empty or too long, or the cursor is not one of this list.
    """
    (hits,) = select_hits(actor, where=SearchFilter(clean_query(query), tuple(types)))
    found = pagination.apply_keyset(hits, sort=BEST_FIRST, page=page).subquery("found")
    statement = select(found, _select_highlight_json().label("highlights"))
    result = await session.execute(statement.order_by(found.c.score.desc(), found.c.id.desc()))
    rows = [_to_hit(row) for row in result]
    return pagination.to_page(rows, lambda: hits, sort=BEST_FIRST, page=page)


def _select_highlight_json() -> Any:
    """Select the highlights of a row of the table `found`."""
    (highlighted,) = select_highlights(owner=_columns("found", "id", "object_type", "words"))
    shown = highlighted.subquery("shown")
    (parts,) = select_parts(owner=_columns("shown", "text", "words"))
    part = parts.subquery("part_of")
    parts_json = select(
        func.jsonb_agg(aggregate_order_by(func.jsonb_build_array(part.c.text, part.c.is_match), part.c.n))
    ).scalar_subquery()
    highlight = func.jsonb_build_array(shown.c.field, parts_json)
    return select(func.jsonb_agg(aggregate_order_by(highlight, shown.c.place))).scalar_subquery()


def _columns(table: str, *names: str) -> Any:
    return SimpleNamespace(**{name: literal_column(f"{table}.{name}") for name in names})


def _to_hit(row: Any) -> Hit:
    shown = [
        Highlight(SearchField(name), [Part(*part) for part in parts]) for name, parts in row.highlights or ()
    ]
    return Hit(row.id, row.score, row.object_type, shown)


def select_hits(actor: Actor, *, where: SearchFilter, owner: object = None) -> tuple[Select[Any]]:
    """Select what has all words of a search, or if there is nothing, what has some of them."""
    assert owner is None
    whole = _query_matches(actor, where, operator="&").cte()
    some = _query_matches(actor, where, operator="|").cte()
    hits = union_all(select(whole), select(some).where(~exists(select(whole.c.id)))).cte()
    words = highlights.select_words(where.query).scalar_subquery()
    return (select(hits, words.label("words")),)


def select_highlights(actor: object = None, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the texts of a hit that have words of the search, with the expression that finds them there."""
    del actor, where  # whoever sees the hit sees its texts
    collective, offer = aliased(Collective, name="found_collective"), aliased(Offer, name="found_offer")
    tags = func.array_fill(_text("TAG"), array([func.cardinality(collective.tags)]))
    collective_texts = _select_texts(
        collective,
        func.array_cat(func.array_cat(_texts("NAME", "SLUG"), tags), _texts("DESCRIPTION")),
        func.array_cat(
            func.array_cat(array([collective.name, collective.slug]), collective.tags),
            array([collective.description]),
        ),
    ).where(owner.object_type == _text("Collective"), col(collective.id) == owner.id)
    offer_texts = _select_texts(
        offer, _texts("ITEM", "DESCRIPTION"), array([offer.item, offer.description])
    ).where(owner.object_type == _text("Offer"), col(offer.id) == owner.id)
    every = union_all(collective_texts, offer_texts).subquery("every")
    return (select(every, owner.words.label("words")).where(highlights.has_words(every.c.text, owner.words)),)


def _select_texts(table: Any, fields: Any, texts: Any) -> Select[Any]:
    columns = column("field", Text), column("text", Text)
    listed = func.unnest(fields, texts).table_valued(*columns, with_ordinality="place")
    rows = listed.render_derived(name="listed")
    return select(rows).select_from(table).join(rows, true())


def _texts(*names: str) -> Any:
    return array([_text(name) for name in names])


def _text(value: str) -> Any:
    return literal_column(f"'{value}'::text", Text)


def select_parts(actor: object = None, *, where: object = None, owner: Any) -> tuple[Select[Any]]:
    """Select the parts of a highlighted text."""
    del actor, where
    return (highlights.select_parts(owner.text, owner.words),)


def _query_matches(actor: Actor, where: SearchFilter, *, operator: Literal["&", "|"]) -> Any:
    kinds = [CollectiveType(kind) for kind in where.types if kind != SearchType.OFFER]
    parts = []
    if kinds or not where.types:
        parts.append(_query_collectives(actor, where.query, kinds, operator))
    if SearchType.OFFER in where.types or not where.types:
        parts.append(_query_offers(actor, where.query, operator))
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
    return _scored(row.id, words, row.name, text, "Collective")


def _query_offers(actor: Actor, text: str, operator: Literal["&", "|"]) -> Select[Any]:
    matches = (
        offers.query_offers(actor, OfferFilter())
        .where(offers.words_of(Offer).op("@@")(directory.search_query(text, operator=operator)))
        .limit(MAX_CANDIDATES)
    )
    row = matches.subquery().c
    return _scored(row.id, func.offer_words(row.item, None), row.item, text, "Offer")


def _scored(row_id: Any, words: Any, name: Any, text: str, object_type: str) -> Select[Any]:
    """Rank by the words in names, then in slugs and tags; first come names that are the whole query."""
    rank = func.ts_rank(words, directory.search_query(text, operator="|"))
    is_name = case((func.fold_words(name) == func.fold_words(text), 1), else_=0)
    score = cast((rank + is_name) * _SCORE_UNITS, Integer)
    return select(row_id.label("id"), score.label("score"), _text(object_type).label("object_type"))
