"""The guard of time zones: raw SQL stores none that PostgreSQL does not know."""

from typing import Any

import psycopg
import pytest

from services.core import time_zones


@pytest.fixture
def collective(owner: psycopg.Connection[Any]) -> str:
    owner.execute(
        "INSERT INTO collective (id, slug, type, name, currency)"
        " VALUES ('00000000-0000-7000-8000-000000000001', 'zoned', 'COMMUNITY', 'Zoned', 'USD')"
    )
    return "00000000-0000-7000-8000-000000000001"


@pytest.mark.parametrize("mode", ["origin", "replica"])
@pytest.mark.parametrize(
    "name", ["localtime", "Factory/x", "PDT", "FOO+3", "Mars/Base", "", "Europe/berlin x"]
)
def test_a_name_of_no_zone_is_refused(
    owner: psycopg.Connection[Any], collective: str, name: str, mode: str
) -> None:
    owner.execute(f"SET session_replication_role = {mode}")
    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute("UPDATE collective SET timezone = %s WHERE id = %s", [name, collective])


def test_all_names_that_the_application_stores_are_known_to_postgresql(
    owner: psycopg.Connection[Any], collective: str
) -> None:
    places, zones, _ = time_zones._read_database()
    names = {time_zones.find_time_zone(name) for name in places | zones} - {None}
    known = {name for (name,) in owner.execute("SELECT name FROM pg_timezone_names").fetchall()}
    for name in names & known:
        owner.execute("UPDATE collective SET timezone = %s WHERE id = %s", [name, collective])
    # A place that got its zone after this PostgreSQL was released.
    assert len(names - known) < 5
