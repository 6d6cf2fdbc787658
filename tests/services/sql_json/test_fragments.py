"""Texts that PostgreSQL puts together as we do."""

import psycopg

from models.iso4217 import CURRENCIES
from services.core.money import Money
from services.sql_json.fragments import Sql, case, concatenate, literal, major_units, replace_null
from tests.conftest import Database


def test_amounts_have_the_decimals_of_their_currency(database: Database) -> None:
    value = major_units("minor", "currency")
    query = f"SELECT currency, {value} FROM unnest(%s::text[]) c(currency), (SELECT %s::bigint) m(minor)"
    with psycopg.connect(database.app_url) as connection:
        for minor in (0, 5, -5, 99, 1234, -100000, 2**62, -(2**63)):
            rows = connection.execute(query.encode(), [list(CURRENCIES), minor]).fetchall()
            assert dict(rows) == {currency: Money(minor, currency).text for currency in CURRENCIES}


def test_pieces_are_concatenated_in_order() -> None:
    assert concatenate(["it's ", "a", Sql("t.x"), "b"]) == "'it''s a' || t.x || 'b'"
    assert case("t.id IS NULL", "null", literal("{}")) == "CASE WHEN t.id IS NULL THEN 'null' ELSE '{}' END"
    assert replace_null(["a", Sql("t.x")], "null", is_nullable=True) == ["coalesce('a' || t.x, 'null')"]
    assert replace_null(["a", Sql("t.x")], "null", is_nullable=False) == ["a", "t.x"]
