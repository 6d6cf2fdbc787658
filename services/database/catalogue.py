"""The database's catalogue compared with the one that this version of the code expects.

The expected catalogue is a committed file, written from a freshly migrated database. It names every table
with its columns, constraints, indexes, triggers and rights, and every function by a hash of its body.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from models.migrations.sql_files import SQL_FOLDER
from services.core.database_urls import to_psycopg_url
from services.core.errors import ConfigurationError
from services.database.engine import APP_ROLE

CATALOGUE_FILE = SQL_FOLDER.parent / "catalogue.txt"
_QUERY = (Path(__file__).parent / "sql" / "catalogue.sql").read_text()
_HEADER = """\
# The database that this version of Commonweal expects, as PostgreSQL describes it.
# Written by `commonweal migrate --write-catalogue`; compared by `commonweal migrate --check` and at start-up.
"""
_MOST_LISTED = 10
_FIRING = {
    "": "fires except on replicas",
    "ALWAYS": "fires always",
    "REPLICA": "fires on replicas only",
    "DISABLED": "is disabled",
}
log = logging.getLogger(__name__)

Catalogue: TypeAlias = dict[tuple[str, str], str]
"""Definitions by object and property: ("table offer", "trigger never_deleted") -> "ALWAYS CREATE …"."""


@dataclass(frozen=True)
class Difference:
    """A difference between the database and the code."""

    description: str
    is_tolerable: bool
    """True if the server may run in spite of it."""


def load_catalogue(database_url: str) -> Catalogue:
    """Read a database's catalogue in one statement; any user may.

    Raises:
        ConfigurationError: if the database was never migrated.
    """
    # Names in definitions are qualified or not depending on the search path.
    engine = create_engine(to_psycopg_url(database_url))
    try:
        with engine.connect() as connection:
            connection.execute(text("SET LOCAL search_path = public"))
            rows = connection.execute(text(_QUERY)).all()
    except ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            raise ConfigurationError("The database is empty: run `commonweal migrate`") from error
        raise
    finally:
        engine.dispose()
    # Sorted here: the order of text in a database depends on its locale.
    rows = sorted(rows, key=lambda row: (row.object, row.position, row.property))
    return {(row.object, row.property): " ".join(row.definition.split()) for row in rows}


def render_catalogue(catalogue: Catalogue) -> str:
    """Return the catalogue as text: a paragraph for each object, a line for each property."""
    paragraphs = [
        "\n".join([name, *(f"  {key[1]}: {catalogue[key]}" for key in keys)])
        for name, keys in groupby(catalogue, key=lambda key: key[0])
    ]
    return "\n\n".join([_HEADER.rstrip(), *paragraphs]) + "\n"


def parse_catalogue(source: str) -> Catalogue:
    """Return the catalogue that `render_catalogue` wrote."""
    catalogue: Catalogue = {}
    name = ""
    for line in source.splitlines():
        if line.startswith("  "):
            key, _, definition = line.strip().partition(": ")
            catalogue[name, key] = definition
        elif line and not line.startswith("#"):
            name = line
    return catalogue


def find_differences(database_url: str) -> list[Difference]:
    """Compare a database with the committed catalogue.

    Raises:
        ConfigurationError: if the database was never migrated.
    """
    expected = parse_catalogue(CATALOGUE_FILE.read_text())
    return list(compare_catalogues(expected, load_catalogue(database_url)))


def compare_catalogues(expected: Catalogue, actual: Catalogue) -> Iterator[Difference]:
    """Yield each difference; an object that is missing or unknown as a whole is one difference."""
    expected_objects, actual_objects = ({name for name, _ in catalogue} for catalogue in (expected, actual))
    for name in sorted(expected_objects - actual_objects):
        yield Difference(f"{name} is missing", is_tolerable=False)
    for name in sorted(actual_objects - expected_objects):
        yield Difference(f"{name} is not part of this version", is_tolerable=True)
    for name, key in sorted(expected.keys() | actual.keys()):
        if name not in expected_objects or name not in actual_objects:
            continue
        was, now = expected.get((name, key)), actual.get((name, key))
        if was == now:
            continue
        yield Difference(_describe(name, key, was, now), is_tolerable=_is_tolerable(name, key, was))


def _describe(name: str, key: str, expected: str | None, actual: str | None) -> str:
    if actual is None:
        return f"{name}: {key} is missing ({expected})"
    if expected is None:
        return f"{name}: {key} is not part of this version ({actual})"
    if key == "body":
        return f"{name}: the body is not the one of this version"
    if key.startswith("trigger") and _firing(expected)[1] == _firing(actual)[1]:
        return f"{name}: {key} {_firing(actual)[0]}; it {_firing(expected)[0]} in this version"
    return f"{name}: {key} is {actual!r} instead of {expected!r}"


def _firing(definition: str) -> tuple[str, str]:
    """Return when a trigger fires, in words, and its definition without that."""
    mode, create, rest = definition.partition("CREATE ")
    return _FIRING[mode.strip()], create + rest


def _is_tolerable(name: str, key: str, expected: str | None) -> bool:
    """Return True for additions and tuning, unless PUBLIC or the application gains a right."""
    if key.startswith("right"):
        return name == "schema public" or (
            expected is None and not key.endswith((" of PUBLIC", f" of {APP_ROLE}"))
        )
    return expected is None or key == "storage"


def require_current(database_url: str) -> None:
    """Log tolerable differences between the database and the code.

    Raises:
        ConfigurationError: if the database lacks something, or something differs.
    """
    differences = find_differences(database_url)
    for difference in differences:
        if difference.is_tolerable:
            log.warning("The database differs from this version: %s", difference.description)
    severe = [difference.description for difference in differences if not difference.is_tolerable]
    if severe:
        lines = [f"\n  {description}" for description in severe[:_MOST_LISTED]]
        more = f"\n  and {len(severe) - _MOST_LISTED} more" if len(severe) > _MOST_LISTED else ""
        raise ConfigurationError(
            "The database is not what this version of Commonweal needs: run `commonweal migrate`, then"
            f" `commonweal migrate --check`{''.join(lines)}{more}"
        )
