"""Keyset pagination of a Select: a page costs the same however far into the list it is."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Integer, Select, Uuid, bindparam, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.core.errors import Invalid

DEFAULT_SIZE = 20
MAX_SIZE = 100
RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Sort:
    """A total order by a timestamp or text column, then by id, both in the same direction."""

    name: str
    key: Any
    id: Any
    descending: bool = True
    parse: Any = datetime.fromisoformat

    def keyset_values(self, row: Any) -> tuple[Any, UUID]:
        """Return the row's values of the two columns it is sorted by."""
        return getattr(row, self.key.key), row.id


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """The part of a list to read: at most `first` rows after a cursor, or the `last` ones before it."""

    first: int = DEFAULT_SIZE
    after: str | None = None
    last: int | None = None
    before: str | None = None

    @property
    def is_backward(self) -> bool:
        """True if the part ends where it is said to, rather than begins there."""
        return self.last is not None

    @property
    def size(self) -> int:
        """Largest number of rows."""
        return self.first if self.last is None else self.last

    @property
    def cursor(self) -> str | None:
        """The cursor after which the part begins, or before which it ends."""
        return self.after if self.last is None else self.before

    @property
    def cursor_field(self) -> str:
        """The argument that holds the cursor."""
        return "after" if self.last is None else "before"


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """Rows in order, with their cursors; `full_query` selects the whole list, to count it."""

    rows: list[RowT]
    sort: Sort
    has_next_page: bool
    has_previous_page: bool
    full_query: Callable[[], Select[Any]]

    @property
    def cursors(self) -> list[str]:
        """Cursor of each row; computed on access, for few queries select it."""
        return [encode_cursor(self.sort, row) for row in self.rows]

    @property
    def start_cursor(self) -> str | None:
        """Cursor of the first row."""
        return encode_cursor(self.sort, self.rows[0]) if self.rows else None

    @property
    def end_cursor(self) -> str | None:
        """Cursor of the last row."""
        return encode_cursor(self.sort, self.rows[-1]) if self.rows else None


def to_page_request(
    first: int | None, after: str | None, last: int | None = None, before: str | None = None
) -> PageRequest:
    """Check the arguments of a page, with the default size if none is given.

    Raises:
        Invalid: a size is not from 1 to 100, or arguments of both directions are given.
    """
    is_backward = last is not None or before is not None
    if is_backward and (first is not None or after is not None):
        field = "first" if first is not None else "after"
        raise Invalid(
            "Pass first and after to page forward, or last and before to page backward.", field=field
        )
    size = last if is_backward else first
    if size is None:
        size = DEFAULT_SIZE
    if not 1 <= size <= MAX_SIZE:
        name = "last" if is_backward else "first"
        raise Invalid(f"{name} must be from 1 to {MAX_SIZE}.", field=name)
    return PageRequest(last=size, before=before) if is_backward else PageRequest(first=size, after=after)


async def list_page(
    session: AsyncSession, statement: Select[RowT], *, sort: Sort, page: PageRequest
) -> Page[RowT]:
    """Read one page, in one statement. Order: that of `sort`.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    rows = list((await session.execute(apply_keyset(statement, sort=sort, page=page))).scalars().all())
    if page.is_backward:
        rows.reverse()
    return to_page(rows, lambda: statement, sort=sort, page=page)


def apply_keyset(statement: Select[RowT], *, sort: Sort, page: PageRequest) -> Select[RowT]:
    """Sort a statement, start it at the cursor, and limit it to the page's size plus one.

    Order: that of `sort`, or if the page is read backward, the reverse.
    """
    cursor = None
    if page.cursor is not None:
        value, row_id = decode_cursor(page.cursor, sort, field=page.cursor_field)
        cursor = (
            bindparam("after_key", value, type_=sort.key.type),
            bindparam("after_id", row_id, type_=Uuid),
        )
    limit = bindparam("page_limit", page.size + 1, type_=Integer)
    return start_at(statement, sort, cursor, limit, is_backward=page.is_backward)


def start_at(
    statement: Select[RowT], sort: Sort, cursor: tuple[Any, Any] | None, limit: Any, *, is_backward: bool
) -> Select[RowT]:
    """Sort a statement, start it at the sort values of `cursor`, and limit it; as `apply_keyset`.

    PostgreSQL plans better for a `limit` that it knows: an int is written into the text.
    """
    columns = (sort.key, sort.id)
    is_descending = sort.descending != is_backward
    if cursor is not None:
        position, start = tuple_(*columns), tuple_(*cursor)
        statement = statement.where(position < start if is_descending else position > start)
    ordered = statement.order_by(*(c.desc() if is_descending else c.asc() for c in columns))
    return ordered.limit(literal_column(str(limit)) if isinstance(limit, int) else limit)


def keyset_parameters(sort: Sort, page: PageRequest) -> dict[str, Any]:
    """Return the values of the parameters that `apply_keyset` adds to a statement, by name.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    parameters: dict[str, Any] = {"page_limit": page.size + 1}
    if page.cursor is not None:
        key, row_id = decode_cursor(page.cursor, sort, field=page.cursor_field)
        parameters |= {"after_key": key, "after_id": row_id}
    return parameters


def keyset_name(page: PageRequest) -> tuple[bool, bool]:
    """Return what distinguishes the texts of statements to which `apply_keyset` was applied."""
    return page.cursor is None, page.is_backward


def to_page(
    rows: list[RowT], full_query: Callable[[], Select[Any]], *, sort: Sort, page: PageRequest
) -> Page[RowT]:
    """Build a page from the rows of a statement to which `apply_keyset` was applied, in the order of `sort`.

    One row more than the page's size shows that the list goes on: at the end, or backward at the beginning.
    """
    has_more = len(rows) > page.size
    if page.is_backward:
        return Page(
            rows=rows[-page.size :],
            sort=sort,
            has_next_page=page.before is not None,
            has_previous_page=has_more,
            full_query=full_query,
        )
    return Page(
        rows=rows[: page.size],
        sort=sort,
        has_next_page=has_more,
        has_previous_page=page.after is not None,
        full_query=full_query,
    )


async def count_rows(session: AsyncSession, page: Page[Any]) -> int:
    """Count the rows of the whole list of a page, in one statement."""
    inner = page.full_query().order_by(None).subquery()
    return (await session.execute(select(func.count()).select_from(inner))).scalar_one()


def parse_text(value: object) -> str:
    """Check the text value of a cursor and return it.

    Raises:
        TypeError: the value is not a text.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def encode_cursor(sort: Sort, row: Any) -> str:
    """Encode the sort's name and a row's sort values as an opaque cursor."""
    return encode_position(sort.name, *sort.keyset_values(row))


def encode_position(sort_name: str, value: Any, row_id: UUID) -> str:
    """Encode the name of a sort and the sort values of a row as an opaque cursor."""
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([sort_name, text, row_id.hex])).decode()


def decode_cursor(cursor: str, sort: Sort, *, field: str = "after") -> tuple[Any, UUID]:
    """Return the sort values in a cursor.

    Raises:
        Invalid: the text is not a cursor of this sort.
    """
    problem = Invalid("Pass a cursor of this list, in the same sort order.", field=field)
    try:
        name, value, row_id = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
        key, key_id = sort.parse(value), UUID(row_id)
    except (ValueError, TypeError, AttributeError):
        raise problem from None
    if name != sort.name or (isinstance(key, str) and "\x00" in key):
        raise problem
    return key, key_id
