"""Relay connections over keyset pages."""

from typing import Annotated, Any, Generic, TypeVar

import strawberry

from resolvers.context import Info
from schema.types.fields import derived
from services.core import pagination
from services.core.pagination import Page, PageRequest

NodeT = TypeVar("NodeT")

First = Annotated[int | None, strawberry.argument(description="How many, from 1 to 100; 20 if not given.")]
After = Annotated[
    str | None,
    strawberry.argument(description="The cursor to start after: an edge's, or endCursor."),
]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follow.")
    has_previous_page: bool = strawberry.field(description="Whether some come before.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last edge.")


def page_info(page: Page[Any]) -> PageInfo:
    """Describe a page."""
    return PageInfo(
        has_next_page=page.has_next_page,
        has_previous_page=page.has_previous_page,
        start_cursor=page.start_cursor,
        end_cursor=page.end_cursor,
    )


def requested(first: int | None, after: str | None) -> PageRequest:
    """Return the page asked for.

    Raises:
        Invalid: a size outside 1 to 100.
    """
    return pagination.request(first, after)


@strawberry.type(description="An item of a list, with its cursor.")
class Edge(Generic[NodeT]):
    cursor: str = strawberry.field(description="Where the item stands in its list.")
    node: NodeT = strawberry.field(description="The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeT]):
    page: strawberry.Private[Page[Any]]

    @derived(description="The items with their cursors.")
    def edges(self) -> list[Edge[NodeT]]:
        return [
            Edge(cursor=cursor, node=row)
            for cursor, row in zip(self.page.cursors, self.page.rows, strict=True)
        ]

    @derived(description="The items.")
    def nodes(self) -> list[NodeT]:
        return self.page.rows

    @derived(description="Where this page stands.")
    def page_info(self) -> PageInfo:
        return page_info(self.page)

    @strawberry.field(description="How many items the whole list has; counted only when asked for.")
    async def total_count(self, info: Info) -> int:
        return await info.context.run(_count, page=self.page)


async def _count(session: Any, _: Any, *, page: Page[Any]) -> int:
    return await pagination.count(session, page)
