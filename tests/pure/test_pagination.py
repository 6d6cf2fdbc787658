"""Keyset pages: their arguments, cursors and statements."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, make_url, select
from sqlmodel import col

from models import Collective
from services.core import pagination
from services.core.errors import Invalid
from services.core.pagination import PageRequest, Sort

DIALECT = make_url("postgresql+psycopg://").get_dialect()()
NEWEST = Sort("newest", col(Collective.created_at), col(Collective.id))
BY_NAME = Sort(
    "name", col(Collective.name), col(Collective.id), descending=False, parse=pagination.parse_text
)
ROW = SimpleNamespace(id=UUID(int=7), created_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), name="Ada")


def to_sql(statement: Select[Any]) -> str:
    return " ".join(str(statement.compile(dialect=DIALECT)).split())


def test_a_page_has_20_rows_by_default_and_at_most_100() -> None:
    assert pagination.to_page_request(None, None) == PageRequest(first=20)
    assert pagination.to_page_request(1, "x") == PageRequest(first=1, after="x")
    assert pagination.to_page_request(100, None).first == 100
    for first in (0, -1, 101, 2**40):
        with pytest.raises(Invalid) as caught:
            pagination.to_page_request(first, None)
        assert caught.value.path == ("first",)


@given(
    st.datetimes(timezones=st.timezones()).map(lambda time: time.astimezone(UTC)),
    st.text().filter(lambda text: "\x00" not in text and text.isprintable()),
    st.uuids(),
)
def test_a_cursor_decodes_to_the_values_of_its_row(created_at: datetime, name: str, row_id: UUID) -> None:
    row = SimpleNamespace(id=row_id, created_at=created_at, name=name)
    for sort, value in ((NEWEST, created_at), (BY_NAME, name)):
        assert pagination.decode_cursor(pagination.encode_cursor(sort, row), sort) == (value, row_id)


def test_only_cursors_of_the_same_sort_are_accepted() -> None:
    nul = pagination.encode_cursor(BY_NAME, SimpleNamespace(id=UUID(int=7), name="a\x00b"))
    for cursor in ("", "x", "e30=", "\udcff", pagination.encode_cursor(NEWEST, ROW), nul):
        with pytest.raises(Invalid) as caught:
            pagination.decode_cursor(cursor, BY_NAME)
        assert caught.value.path == ("after",)


def test_a_page_reads_one_row_more_than_it_has() -> None:
    statement = pagination.apply_keyset(select(Collective), sort=NEWEST, page=PageRequest(first=5))
    assert to_sql(statement).endswith(
        "ORDER BY collective.created_at DESC, collective.id DESC LIMIT %(page_limit)s::INTEGER"
    )
    assert statement.compile().params == {"page_limit": 6}


@pytest.mark.parametrize(("sort", "operator"), [(NEWEST, "<"), (BY_NAME, ">")])
def test_a_page_after_a_cursor_starts_behind_its_row(sort: Sort, operator: str) -> None:
    page = PageRequest(first=2, after=pagination.encode_cursor(sort, ROW))
    statement = pagination.apply_keyset(select(Collective), sort=sort, page=page)
    key = sort.key.key
    assert f"WHERE (collective.{key}, collective.id) {operator} (" in to_sql(statement)
    parameters = pagination.keyset_parameters(sort, page)
    assert parameters == {"page_limit": 3, "after_key": getattr(ROW, key), "after_id": ROW.id}
    assert {name: statement.compile().params[name] for name in parameters} == parameters


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_extra_row_tells_if_another_page_follows(count: int) -> None:
    rows = [
        SimpleNamespace(id=UUID(int=n), created_at=ROW.created_at - timedelta(days=n)) for n in range(count)
    ]
    page = pagination.to_page(
        rows, lambda: select(Collective), sort=NEWEST, page=PageRequest(first=2, after="x" if count else None)
    )
    assert page.rows == rows[:2]
    assert (page.has_next_page, page.has_previous_page) == (count == 3, count > 0)
    assert page.cursors == [pagination.encode_cursor(NEWEST, row) for row in rows[:2]]
    assert page.start_cursor == (page.cursors[0] if rows else None)
    assert page.end_cursor == (page.cursors[-1] if rows else None)
