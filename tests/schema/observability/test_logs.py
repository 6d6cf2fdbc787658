"""Log lines of faults: where it happened and what PostgreSQL refused, without anybody's values."""

import json
import logging

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from schema.observability.logs import JsonFormatter
from schema.types.errors import mask_error
from tests.factories import World

INSERT = "INSERT INTO collective (slug, name, type) VALUES ('x', :name, 'USER')"
VALUES = {"name": "ada@example.org\nDE89"}


async def test_the_values_of_a_refused_row_are_not_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.sessions() as session:
        with pytest.raises(DBAPIError) as caught:
            await session.execute(text(INSERT), VALUES)
    with caplog.at_level(logging.ERROR):
        mask_error(caught.value)
    lines = [JsonFormatter().format(record) for record in caplog.records]
    trace = orjson.loads(lines[0])["trace"]
    assert "violates not-null constraint" in trace
    assert INSERT.partition(":")[0] in trace
    assert not any("ada@" in line or "DE89" in line for line in lines)


@pytest.mark.parametrize("value", ["half a pair: \ud800", 2**70])
def test_no_value_loses_a_line(value: object) -> None:
    record = logging.makeLogRecord({"msg": "said %s", "args": ("\udfff",), "value": value})
    line = JsonFormatter().format(record)
    line.encode()
    assert json.loads(line)["value"] == value
