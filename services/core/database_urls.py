"""URLs of databases: libpq's own forms, with one host or several. No message ever shows one."""

import re
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL

from services.core.errors import ConfigurationError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_HOST_AND_PORT = re.compile(r"(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d+)")
_MAX_PORT = 65_535


def parse(url: str) -> dict[str, str]:
    """Return libpq's parameters of a URL; several hosts and their ports are separated by commas.

    Beside `postgresql://a:5432,b:5432/name` it understands SQLAlchemy's `?host=a:5432&host=b:5432`.

    Raises:
        ConfigurationError: it is no URL of a database; the message does not show it.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        _refuse()
    address, question, query = rest.partition("?")
    try:
        text = f"postgresql://{address}{question}{_join_hosts(query)}"
        parameters = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except (psycopg.Error, ValueError):
        _refuse()
    ports = [port for port in parameters.get("port", "").split(",") if port]
    if any(not port.isdecimal() or not 0 < int(port) <= _MAX_PORT for port in ports):
        _refuse()
    if not ports:
        parameters.pop("port", None)
    return parameters


def _refuse() -> NoReturn:
    raise ConfigurationError(
        "The URL of a database must be postgresql://user:password@host:5432/name, with several hosts"
        " postgresql://user@a:5432,b:5432/name"
    ) from None


def _join_hosts(query: str) -> str:
    """Return a query in which several hosts, each perhaps with a port, are one parameter of libpq."""
    pairs = parse_qsl(query, keep_blank_values=True)
    hosts = [value for name, value in pairs if name == "host"]
    matches = [_HOST_AND_PORT.fullmatch(host) for host in hosts]
    if not hosts[1:] and not any(matches):
        return query
    kept = [(name, value) for name, value in pairs if name not in {"host", "port"}]
    names = [match["host"].strip("[]") if match else host for host, match in zip(hosts, matches, strict=True)]
    ports = [match["port"] if match else "5432" for match in matches]
    return urlencode([("host", ",".join(names)), ("port", ",".join(ports)), *kept])


def to_psycopg_url(url: str) -> URL:
    """Return the URL with psycopg as its driver, for SQLAlchemy."""
    parameters = parse(url)
    return URL.create(
        "postgresql+psycopg",
        username=parameters.pop("user", None),
        password=parameters.pop("password", None),
        database=parameters.pop("dbname", None),
        query=parameters,
    )


def to_conninfo(url: str, **defaults: str | int) -> str:
    """Return libpq's connection string, with defaults for what the URL does not say."""
    return make_conninfo("", **(defaults | parse(url)))


def split_password(url: str) -> tuple[str, dict[str, str]]:
    """Return the connection string without a password for a command line, and the variables that hold it."""
    parameters = parse(url)
    password = parameters.pop("password", None)
    return make_conninfo("", **parameters), {} if password is None else {"PGPASSWORD": password}


def describe(url: str) -> str:
    """Return where a database is, for people: its name and hosts, without user and password."""
    parameters = parse(url)
    place = parameters.get("host") or "the default socket"
    return f"{parameters.get('dbname') or parameters.get('user') or 'the default database'} on {place}"
