"""SQL files: named and described statements beside the modules that run them."""

import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import TextClause, text

_HEADING = re.compile(r"^-- (\w+) --\n", re.MULTILINE)
_DESCRIPTION = re.compile(r"(?:-- .*\n)+")


@dataclass(frozen=True)
class SqlStatement:
    """A statement and its description."""

    description: str
    sql: str


def read_statements(path: Path) -> dict[str, SqlStatement]:
    """Read a file whose statements each follow `-- name --` and a description in comment lines."""
    _, *parts = _HEADING.split(path.read_text())
    return {name: _parse(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def read_clauses(path: Path) -> dict[str, TextClause]:
    """Read the statements of a file ready to be executed, by name."""
    return {name: text(statement.sql) for name, statement in read_statements(path).items()}


def _parse(body: str) -> SqlStatement:
    match = _DESCRIPTION.match(body)
    assert match is not None, "a statement needs a description"
    lines = [line.removeprefix("-- ") for line in match.group().splitlines()]
    return SqlStatement(" ".join(lines), body[match.end() :].strip())
