"""Search over everything with a name, and the tags of collectives."""

from typing import Annotated

import strawberry

from resolvers import search as resolve
from resolvers.context import Info
from schema.types import sql_lists
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import SearchField, SearchType
from schema.types.fields import batched, computed, shaped
from schema.types.node import Node, is_row_of
from services.collectives import directory
from services.search import search

Rows = list[search.Hit]


@strawberry.type(description="A stretch of a text in which a search found words.")
class HighlightPart:
    is_type_of = is_row_of(search.Part)
    text: str = strawberry.field(description="The stretch of text, as it was written.")
    is_match: bool = strawberry.field(description="True if it is a word that the search found.")


@strawberry.type(description="A text in which a search found words, in parts for display.")
class Highlight:
    is_type_of = is_row_of(search.Highlight)
    field: SearchField = strawberry.field(description="Field of the object that has the text.")

    @computed(
        shape=sql_lists.HIGHLIGHT_PARTS,
        description="The text in parts, in order. Of a long text, the excerpt around the first match.",
        graphql_type=list[HighlightPart],
    )
    def parts(root: strawberry.Parent[search.Highlight]) -> list[search.Part]:
        return root.parts


@strawberry.type(description="A thing that a search found.")
class SearchResult:
    is_type_of = is_row_of(search.Hit)

    @computed(
        shape=sql_lists.HIGHLIGHTS,
        description="Texts of the object that have words of the search.",
        graphql_type=list[Highlight],
    )
    def highlights(root: strawberry.Parent[search.Hit]) -> list[search.Highlight]:
        return root.highlights

    @batched(
        shape=sql_lists.FOUND_ITEM,
        description="The collective or offer that was found.",
        graphql_type=Node,
    )
    async def item(rows: Rows, info: Info) -> list[object]:
        return await resolve.load_found(rows, info)


@strawberry.type(description="A page of search results.")
class SearchResultConnection(Connection[SearchResult]):
    pass


@strawberry.type(description="A tag, and how often it is used.")
class Tag:
    is_type_of = is_row_of(directory.TagCount)
    name: str = strawberry.field(description="The tag in its most frequent spelling.")
    count: int = strawberry.field(description="Number of open collectives with the tag that you may see.")


@strawberry.type
class SearchQueries:
    """Queries that search."""

    @strawberry.field(
        description="Open collectives and active offers whose names, slugs, tags or descriptions have the "
        "words of the query, best match first. A word finds longer ones that begin with it; accents, case "
        "and order do not matter. If nothing has all words, what has some of them. At most 500 "
        "collectives and 500 offers. Only what you may see is found.",
        graphql_type=SearchResultConnection | None,
    )
    @shaped(sql_lists.SEARCH)
    async def search(
        self,
        info: Info,
        query: Annotated[
            str, strawberry.argument(description="Words to search for, at most 100 characters.")
        ],
        types: Annotated[
            list[SearchType] | None, strawberry.argument(description="Only things of these types.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> SearchResultConnection:
        page = await resolve.search_everything(
            info, query=query, types=types or [], page=to_page_request(first, after, last, before)
        )
        return SearchResultConnection(page=page)

    @strawberry.field(
        description="Most frequent tags of open collectives that you may see. Tags are one whatever their "
        "case and accents.",
        graphql_type=list[Tag] | None,
    )
    @shaped(sql_lists.TAGS)
    async def tags(self, info: Info, first: First = None) -> list[directory.TagCount]:
        return await resolve.list_tags(info, first=first)
