"""Parameters are written as the driver writes them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.adapt import PyFormat, Transformer

from models.enums import OrderStatus
from services.round_trips import parameters
from tests.conftest import Database

ID = UUID("0193a6b0-0000-7000-8000-0123456789ab")
VALUES: dict[str, Any] = {
    "null": None,
    "a text": "Ünïcode, 'quoted' and \\ more",
    "an empty text": "",
    "a member of an enum": OrderStatus.PAID,
    "true": True,
    "false": False,
    "a small number": -5,
    "a number": 70_000,
    "a large number": -(2**40),
    "the least number": -(2**63),
    "an id": ID,
    "bytes": b"\x00\xff",
    "a time": datetime(2026, 11, 29, 12, 30, 1, 250, tzinfo=UTC),
    "a time of another zone": datetime(2026, 11, 29, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "ids": [ID, ID],
    "texts": ["USD", "EUR", "ä"],
    "numbers": [1, -(2**20), 3],
    "large numbers": [2**40],
    "an empty list": [],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_has_the_type_and_the_meaning_that_the_driver_gives_it(database: Database, name: str) -> None:
    value = VALUES[name]
    with psycopg.connect(database.owner_url) as connection:
        transformer = Transformer(connection)
        dumped = transformer.dump_sequence([value], [PyFormat.AUTO])
        written = parameters.write([value])
        assert written.types == transformer.types
        answers = [
            connection.pgconn.exec_params(
                b"SELECT $1::text", values, param_types=types, param_formats=formats
            )
            for values, types, formats in (
                (dumped, transformer.types, transformer.formats),
                (written.values, written.types, written.formats),
            )
        ]
        assert answers[0].ntuples == 1, answers[0].error_message
        assert answers[0].get_value(0, 0) == answers[1].get_value(0, 0)


@pytest.mark.parametrize(
    "value",
    [
        "a\0b",
        2**63,
        datetime(2026, 11, 29),  # noqa: DTZ001 - a time without a zone is what is tested
        {"a": 1},
        ["a b"],
        ["null"],
        [""],
        [None],
        [ID, "x"],
        [[1]],
        [True],
    ],
    ids=repr,
)
def test_other_values_are_left_to_the_driver(value: Any) -> None:
    with pytest.raises(parameters.Unlisted):
        parameters.write([value])
