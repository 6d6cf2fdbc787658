"""Texts that PostgreSQL puts together as we do."""

import psycopg

from models.iso4217 import CURRENCIES
from services.core.money import Money
from services.sql_json.fragments import Sql, case, literal, text, unless_null, value_of
from tests.conftest import Database


def test_amounts_have_the_places_of_their_currency(database: Database) -> None:
    value = value_of("minor", "currency")
    query = f"SELECT currency, {value} FROM unnest(%s::text[]) c(currency), (SELECT %s::bigint) m(minor)"
    with psycopg.connect(database.app_url) as connection:
        for minor in (0, 5, -5, 99, 1234, -100000, 2**62, -(2**63)):
            found = connection.execute(query.encode(), [list(CURRENCIES), minor]).fetchall()
            assert dict(found) == {currency: Money(minor, currency).text for currency in CURRENCIES}


def test_pieces_stand_behind_each_other() -> None:
    assert text(["it's ", "a", Sql("t.x"), "b"]) == "'it''s a' || t.x || 'b'"
    assert case("t.id IS NULL", "null", literal("{}")) == "CASE WHEN t.id IS NULL THEN 'null' ELSE '{}' END"
    assert unless_null(["a", Sql("t.x")], "null", may_lack=True) == ["coalesce('a' || t.x, 'null')"]
    assert unless_null(["a", Sql("t.x")], "null", may_lack=False) == ["a", "t.x"]
