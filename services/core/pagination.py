"""Keyset pages over a Select: a page costs the same however deep it lies."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Integer, Select, Uuid, bindparam, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.core.errors import Invalid

DEFAULT_SIZE = 20
MAX_SIZE = 100
RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Sort:
    """A total order by a moment or text column, then by id; both in one direction."""

    name: str
    key: Any
    id: Any
    descending: bool = True
    parse: Any = datetime.fromisoformat

    def values(self, row: Any) -> tuple[Any, UUID]:
        """Return where the row stands in this order."""
        return getattr(row, self.key.key), row.id


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Which part of a list: at most `first` rows after a cursor."""

    first: int = DEFAULT_SIZE
    after: str | None = None


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """Rows in order, each with its cursor; `all_rows` counts the whole list when asked."""

    rows: list[RowT]
    sort: Sort
    has_next_page: bool
    has_previous_page: bool
    all_rows: Callable[[], Select[Any]]

    @property
    def cursors(self) -> list[str]:
        """Where each row stands; made when asked for, which is seldom."""
        return [encode_cursor(self.sort, row) for row in self.rows]

    @property
    def start_cursor(self) -> str | None:
        """Where the first row stands."""
        return encode_cursor(self.sort, self.rows[0]) if self.rows else None

    @property
    def end_cursor(self) -> str | None:
        """Where the last row stands."""
        return encode_cursor(self.sort, self.rows[-1]) if self.rows else None


def request(first: int | None, after: str | None) -> PageRequest:
    """Check a page's size.

    Raises:
        Invalid: `first` is not within 1 to 100.
    """
    size = DEFAULT_SIZE if first is None else first
    if not 1 <= size <= MAX_SIZE:
        raise Invalid(f"first must be from 1 to {MAX_SIZE}", path=["first"])
    return PageRequest(first=size, after=after)


async def read(
    session: AsyncSession, statement: Select[RowT], *, sort: Sort, page: PageRequest
) -> Page[RowT]:
    """Read one page, in one statement. Order: that of `sort`.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    rows = list((await session.execute(narrow(statement, sort=sort, page=page))).scalars().all())
    return build(rows, lambda: statement, sort=sort, page=page)


def narrow(statement: Select[RowT], *, sort: Sort, page: PageRequest) -> Select[RowT]:
    """Order the statement, start it after the cursor, and ask for one row more than the page has."""
    if page.after is not None:
        value, row_id = decode_cursor(page.after, sort)
        place = tuple_(sort.key, sort.id)
        bound = tuple_(
            bindparam("after_key", value, type_=sort.key.type), bindparam("after_id", row_id, type_=Uuid)
        )
        statement = statement.where(place < bound if sort.descending else place > bound)
    columns = (sort.key, sort.id)
    ordered = statement.order_by(*(c.desc() if sort.descending else c.asc() for c in columns))
    return ordered.limit(bindparam("page_limit", page.first + 1, type_=Integer))


def values(sort: Sort, page: PageRequest) -> dict[str, Any]:
    """Return the values of the parameters that `narrow` puts into a statement, by their names."""
    found: dict[str, Any] = {"page_limit": page.first + 1}
    if page.after is not None:
        found["after_key"], found["after_id"] = decode_cursor(page.after, sort)
    return found


def build(
    rows: list[RowT], all_rows: Callable[[], Select[Any]], *, sort: Sort, page: PageRequest
) -> Page[RowT]:
    """Make a page of the rows that `narrow` found."""
    shown = rows[: page.first]
    return Page(
        rows=shown,
        sort=sort,
        has_next_page=len(rows) > page.first,
        has_previous_page=page.after is not None,
        all_rows=all_rows,
    )


async def count(session: AsyncSession, page: Page[Any]) -> int:
    """Count the whole list that the page is of, in one statement."""
    inner = page.all_rows().order_by(None).subquery()
    return (await session.execute(select(func.count()).select_from(inner))).scalar_one()


def as_text(value: object) -> str:
    """Read a text of a cursor.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def encode_cursor(sort: Sort, row: Any) -> str:
    """Return an opaque cursor: the order's name, and where the row stands in it."""
    value, row_id = sort.values(row)
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([sort.name, text, row_id.hex])).decode()


def decode_cursor(cursor: str, sort: Sort) -> tuple[Any, UUID]:
    """Return where a cursor points to.

    Raises:
        Invalid: it is not a cursor of this order.
    """
    refusal = Invalid("This is not a cursor of this list", path=["after"])
    try:
        name, value, row_id = orjson.loads(base64.urlsafe_b64decode(cursor.encode()))
        place = sort.parse(value), UUID(row_id)
    except (ValueError, TypeError, AttributeError):
        raise refusal from None
    if name != sort.name or (isinstance(place[0], str) and "\x00" in place[0]):
        raise refusal
    return place
