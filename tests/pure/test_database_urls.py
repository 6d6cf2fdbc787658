"""URLs of databases: the forms of libpq and of SQLAlchemy mean the same, and no password is shown."""

from typing import Any, cast

import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from services.core import database_urls

DIALECT: Any = cast("Any", PGDialect_psycopg)()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40@a:5432,b:5433/x?target_session_attrs=read-write",
        "postgresql+psycopg://u:p%40@/x?host=a:5432&host=b:5433&target_session_attrs=read-write",
        "postgres://u:p%40@/x?host=a,b&port=5432,5433&target_session_attrs=read-write",
    ],
)
def test_several_hosts_are_understood_in_each_form(url: str) -> None:
    expected = {
        "user": "u",
        "password": "p@",
        "host": "a,b",
        "port": "5432,5433",
        "dbname": "x",
        "target_session_attrs": "read-write",
    }
    assert database_urls.parse(url) == expected
    _, arguments = DIALECT.create_connect_args(database_urls.to_psycopg_url(url))
    assert {name: arguments[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://[::1]:5433/x", "::1", "5433"),
        ("postgresql:///x?host=/run/postgresql", "/run/postgresql", None),
        ("postgresql:///x?host=a:5433", "a", "5433"),
        ("postgresql://a/x", "a", None),
        ("postgresql://a,b/x", "a,b", None),
    ],
)
def test_one_host_stays_as_it_is(url: str, host: str, port: str | None) -> None:
    parameters = database_urls.parse(url)
    assert (parameters["host"], parameters.get("port")) == (host, port)
    _, arguments = DIALECT.create_connect_args(database_urls.to_psycopg_url(url))
    assert arguments["host"] == host
    assert str(arguments.get("port") or "").strip(",") == (port or "")


def test_the_password_is_apart_and_never_described() -> None:
    url = "postgresql://u:secret@a:5432,b:5433/x"
    text, variables = database_urls.split_password(url)
    assert "secret" not in text
    assert variables == {"PGPASSWORD": "secret"}
    assert database_urls.describe(url) == "x on a,b"


def test_what_the_url_says_wins_over_defaults() -> None:
    assert "connect_timeout=7" in database_urls.to_conninfo(
        "postgresql://a/x?connect_timeout=7", connect_timeout=3
    )
