"""Parts of statements, compiled once, that take other names in each statement."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Text, bindparam, case, func, literal_column, select
from sqlmodel import col

from models import Collective
from models.enums import CollectiveType
from services.access import visibility
from services.access.actor import ANONYMOUS
from services.database import statement_cache
from services.round_trips.dialect import DIALECT, WrittenText
from services.sql_json import templates
from services.sql_json.sources import RowSource
from services.sql_json.templates import CONDITION, LIMIT, PREFIX, write_expression, write_selects


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_COMPILED", {})


def compiled(text: str) -> tuple[str, list[str]]:
    """Compile a written text as part of a statement; return its text and parameters."""
    statement = select(literal_column("1")).select_from(WrittenText(text)).compile(dialect=DIALECT)
    return str(statement), list(statement.positiontup or ())


def select_named(row: RowSource) -> list[Any]:
    """Select the children of a row that have a name."""
    statement = select(Collective).where(
        col(Collective.parent_id) == row.id_expression("id"),
        col(Collective.name) == bindparam(f"{PREFIX}_name", None, type_=Text),
        literal_column(CONDITION),
    )
    return [statement.limit(literal_column(LIMIT))]


def test_a_select_takes_the_names_of_its_statement() -> None:
    for row_name, prefix, limit in (("t1", "a", "5"), ("t2", "b", "20")):
        row = RowSource(row_name, Collective)
        names = {"prefix": prefix, "limit": limit, "condition": "TRUE"}
        (selected,) = write_selects("named", select_named, row, **names)
        text, parameters = compiled(f"({selected.write({'id', 'slug'})}) AS t3")
        assert " ".join(text.split()) == (
            "SELECT 1 FROM (SELECT collective.id, collective.slug FROM collective"
            f" WHERE collective.parent_id = {row_name}.id AND collective.name = $1::VARCHAR AND TRUE"
            f" LIMIT {limit}) AS t3"
        )
        assert parameters == [f"{prefix}_name"]
        assert row.used == {"id"}


def test_a_part_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_cache, "verify_cached", False)
    built = []

    def build(columns: Any) -> Any:
        built.append(columns)
        return columns.slug == "a"

    for row in (RowSource("t1", Collective), RowSource("t2", Collective)):
        assert write_expression("is_a", build, row) == f"{row.name}.slug = 'a'"
        assert row.used == {"slug"}
    assert len(built) == 1
    assert (
        write_expression("is_a", build, RowSource("t1", Collective, prefix="side_")) == "t1.side_slug = 'a'"
    )
    assert len(built) == 2


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_MAX_TEMPLATES", 3)
    for number in range(10):
        assert write_expression(number, lambda number=number: literal_column(str(number))) == str(number)
    assert len(templates._COMPILED) == 3


def test_a_key_of_two_texts_is_noticed() -> None:
    write_expression("key", lambda: literal_column("1"))
    with pytest.raises(AssertionError, match="key"):
        write_expression("key", lambda: literal_column("2"))


def test_columns_are_written_alone_or_all_with_what_is_added() -> None:
    total = select(
        func.count().label("count"),
        case((col(Collective.type) == CollectiveType.USER, 1), else_=0).label("is_user"),
    )
    (selected,) = write_selects("total", lambda: [total])
    users = "CASE WHEN (collective.type = 'USER') THEN 1 ELSE 0 END AS is_user"
    start, end = "SELECT ", " \nFROM collective"
    assert selected.write() == f"{start}count(*) AS count, {users}{end}"
    assert selected.write({"is_user"}, "true AS found") == f"{start}{users}, true AS found{end}"
    assert selected.write(set()) == f"{start}true AS is_row{end}"
    assert "count" in selected
    assert "id" not in selected


@pytest.mark.parametrize("text", ["'a: b'", "'100 %'", "x::uuid", "'HH24:MI:SS'", "'\\:x'", "'%s'"])
def test_written_text_is_sent_as_it_is(text: str) -> None:
    assert compiled(text) == (f"SELECT 1 \nFROM {text}", [])


def test_a_parameter_that_is_named_twice_is_sent_once() -> None:
    text, parameters = compiled("f(\x0eb\x0e::text, \x0ea\x0e, \x0eb\x0e)")
    assert (text, parameters) == ("SELECT 1 \nFROM f($1::text, $2, $1)", ["b", "a"])


@pytest.mark.parametrize("build", [visibility.collective_is_visible, visibility.balance_is_visible])
def test_conditions_name_the_row(build: Callable[..., Any]) -> None:
    written = write_expression(build, lambda columns: build(ANONYMOUS, columns), RowSource("t7", Collective))
    assert "t7." in written
    assert "\x03" not in written
