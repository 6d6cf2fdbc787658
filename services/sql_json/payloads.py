"""Payloads of mutations: rows that a mutation returns, written as JSON after its last write.

The statement travels with the COMMIT. Whatever cannot be written so fails in it, and then nothing is stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal_column, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.access.actor import Actor
from services.database import fetch
from services.database.constraint_errors import sqlstate
from services.round_trips import effects
from services.round_trips.pipelines import compile_statement
from services.sql_json import builder
from services.sql_json.arguments import ListArguments, NodesArguments, RowId
from services.sql_json.fragments import NULL_VIOLATION, literal
from services.sql_json.rows import JsonRead, JsonText, to_data
from services.sql_json.shape import BoundShape, SqlJsonUnavailable

_DATA_ERRORS = ("21", "22")
"""Classes of SQLSTATE: too many rows, and values that cannot be computed, such as a division by zero."""
_PLANNING = compile_statement(
    text(
        "SELECT set_config('plan_cache_mode', 'force_generic_plan', true),"
        " set_config('enable_hashjoin', 'off', true)"
    )
)
"""Plans the statement once a connection, as those of queries are (docs/decisions/0039)."""


@dataclass
class PayloadRead:
    """What is read for the payload of one run of a mutation, and its JSON."""

    bind: Callable[[Mapping[str, Any]], BoundShape | None]
    """Returns what to read for the fields of a payload; None if they hold no row."""
    texts: dict[str, JsonText | None] = field(default_factory=dict)
    """The JSON by response key, once it was read."""


def row_arguments(table: Any, row_id: UUID) -> ListArguments:
    """Return the arguments that select one row, which the viewer may see because a mutation returned it."""
    return ListArguments(_selector(table), RowId(row_id))


def rows_arguments(option: str, row_ids: Sequence[UUID]) -> NodesArguments:
    """Return the arguments that select several rows in their order."""
    return NodesArguments(tuple((option, row_id) for row_id in row_ids))


@cache
def _selector(table: Any) -> Callable[..., tuple[Select[Any]]]:
    def select_by_id(_: Actor, *, where: RowId, **_owner: object) -> tuple[Select[Any]]:
        return (select(table).where(table.id == where.id),)

    return select_by_id


@cache
def selector_of_many(table: Any) -> Callable[..., tuple[Select[Any]]]:
    """Return what selects a row of a table by an expression for its id."""
    return lambda _, row_id: (select(table).where(table.id == row_id),)


async def read_at_end(session: AsyncSession, actor: Actor, *, bound: BoundShape, into: PayloadRead) -> None:
    """Write the JSON with what the mutation sends next; `into` has it afterwards.

    Raises:
        SqlJsonUnavailable: when it is sent, and a non-null value is NULL.
    """
    read = JsonRead.of(bound)
    call = fetch.prepare_call(
        actor, name=("payload", read.name), build=lambda: _guarded_statement(actor, bound), **read.values
    )

    def take(rows: Sequence[Any]) -> None:
        into.texts = to_data(read, [row[:3] for row in rows])

    await effects.read_at_end(session, call, settings=_PLANNING, take=take, explain=_explain)


def _guarded_statement(actor: Actor, bound: BoundShape) -> Select[Any]:
    """Build the statement of the roots, which fails if one has a NULL where none may be."""
    statement = builder.json_statement(actor, bound, checks_viewer=False)
    roots = statement.offset(literal_column("0")).subquery("payload")  # fenced: the texts are built once
    is_whole = f"1 / (strpos({roots.name}.text, {literal(NULL_VIOLATION)}) = 0)::integer"
    return select(roots.c.root, roots.c.text, roots.c.cost, literal_column(is_whole).label("is_whole"))


def _explain(error: DBAPIError) -> SqlJsonUnavailable | None:
    return SqlJsonUnavailable() if (sqlstate(error) or "").startswith(_DATA_ERRORS) else None
