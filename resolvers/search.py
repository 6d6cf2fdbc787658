"""What a search finds."""

from collections.abc import Sequence
from typing import Any

from resolvers.context import Info
from services.collectives import directory
from services.collectives.directory import TagCount
from services.core.pagination import Page, PageRequest, to_page_request
from services.search import search
from services.search.search import Hit, SearchType


async def search_everything(
    info: Info, *, query: str, types: Sequence[SearchType], page: PageRequest
) -> Page[Hit]:
    """Find what the viewer may see."""
    return await info.context.run(search.search_everything, query=query, types=types, page=page)


async def load_found(hits: Sequence[Hit], info: Info) -> list[Any]:
    """Load the collectives and offers that were found, through the loaders of every other path."""
    loaders = info.context.loaders
    collectives = await loaders.collective.load_many(
        [hit.id for hit in hits if hit.object_type == "Collective"]
    )
    found_offers = await loaders.offer.load_many([hit.id for hit in hits if hit.object_type == "Offer"])
    rows = {row.id: row for row in [*collectives, *found_offers] if row is not None}
    return [rows[hit.id] for hit in hits]


async def list_tags(info: Info, *, first: int | None) -> list[TagCount]:
    """List the most frequent tags.

    Raises:
        Invalid: a number outside 1 to 100.
    """
    return await info.context.run(directory.list_tags, limit=to_page_request(first, None).first)
