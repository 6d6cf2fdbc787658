"""Relay connections on top of keyset pages.

Every field that returns one is nullable: a refused argument takes that field alone with it.
"""

from typing import Annotated, Any, Generic, TypeVar

import strawberry

from resolvers.context import Info
from schema.types.fields import computed
from services.core import pagination
from services.core.pagination import Page, PageRequest

NodeT = TypeVar("NodeT")

First = Annotated[
    int | None, strawberry.argument(description="Number of items, from 1 to 100. Defaults to 20.")
]
After = Annotated[
    str | None,
    strawberry.argument(description="Cursor to continue after: the `cursor` of an edge, or `endCursor`."),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description="Number of items at the end of the list, or before `before`, from 1 to 100: to page "
        "backward, in place of `first`."
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(
        description="Cursor to end before: the `cursor` of an edge, or `startCursor`. Not with `first` or "
        "`after`."
    ),
]

PAGE_ARGUMENTS = ("first", "after", "last", "before")
"""The arguments of a connection, in the order of `to_page_request`."""


@strawberry.type(description="Position of a page in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="True if more items follow this page.")
    has_previous_page: bool = strawberry.field(description="True if items precede this page.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first edge.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last edge.")


def to_page_info(page: Page[Any]) -> PageInfo:
    """Return the GraphQL description of a page."""
    return PageInfo(
        has_next_page=page.has_next_page,
        has_previous_page=page.has_previous_page,
        start_cursor=page.start_cursor,
        end_cursor=page.end_cursor,
    )


def to_page_request(
    first: int | None, after: str | None, last: int | None, before: str | None
) -> PageRequest:
    """Return the page request for the arguments of a connection.

    Raises:
        Invalid: a size outside 1 to 100, or arguments of both directions.
    """
    return pagination.to_page_request(first, after, last, before)


@strawberry.type(description="An item of a list, with its cursor.")
class Edge(Generic[NodeT]):
    cursor: str = strawberry.field(
        description="Position of the item in its list, for use as `after` or `before`."
    )
    node: NodeT = strawberry.field(description="The item at this edge.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[NodeT]):
    page: strawberry.Private[Page[Any]]

    @computed(description="Items of this page with their cursors.")
    def edges(self) -> list[Edge[NodeT]]:
        return [
            Edge(cursor=cursor, node=row)
            for cursor, row in zip(self.page.cursors, self.page.rows, strict=True)
        ]

    @computed(description="Items of this page.")
    def nodes(self) -> list[NodeT]:
        return self.page.rows

    @computed(description="Position of this page in its list.")
    def page_info(self) -> PageInfo:
        return to_page_info(self.page)

    @strawberry.field(description="Number of items in the whole list. Counted only if selected.")
    async def total_count(self, info: Info) -> int:
        return await info.context.run_without_viewer(pagination.count_rows, self.page)
