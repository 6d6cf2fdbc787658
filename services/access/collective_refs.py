"""Loading of the collectives that a client refers to by id or slug, with their hosts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, Uuid, and_, bindparam, func, inspect, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, SlugRedirect
from services.access import viewer_terms, visibility
from services.access.actor import Actor
from services.access.slug_suggestions import describe_missing
from services.core import public_ids
from services.core.errors import Invalid, InvalidState, NotFound, Problem
from services.core.party import Party
from services.round_trips import effects
from services.round_trips.entities import attach_rows
from services.round_trips.pipelines import Call, Statement, compile_statement
from services.round_trips.records import column_names, split_records


@dataclass(frozen=True)
class CollectiveKey:
    """Reference to a collective, by either public id or slug."""

    id: str | None = None
    slug: str | None = None


# Built once at import: creating an alias copies every column, which cost more than the query.
_HOST, _SOUGHT = aliased(Collective, name="host"), aliased(Collective, name="sought")
_KEYS = {"row_ids", "slugs"}


async def resolve(
    session: AsyncSession, actor: Actor, refs: Mapping[str, CollectiveKey], *, are_records: bool = False
) -> dict[str, Party]:
    """Load the referenced collectives with their hosts, keyed by input field, in one statement.

    A former slug of a collective still refers to it. `are_records` for those that nobody changes: they are in
    no session, and cost a tenth.

    Raises:
        Invalid: an id is malformed or of another type, or a slug is empty.
        NotFound: a collective does not exist, or the actor may not see it; with a similar slug, if any.
    """
    keys = {name: ref_key(name, ref) for name, ref in refs.items()}
    parties = await _load_visible(session, actor, list(keys.values()), are_records=are_records)
    missing = [name for name, key in keys.items() if key not in parties]
    if missing:
        message = await describe_missing(session, actor, key=keys[missing[0]])
        raise NotFound(message, field=missing[0])
    return {name: parties[key] for name, key in keys.items()}


async def resolve_many(
    session: AsyncSession, actor: Actor, refs: Sequence[CollectiveKey], *, name: str
) -> list[Party | Problem]:
    """Load the listed collectives with their hosts, or the problem of each, in one statement.

    Order: that of `refs`.
    """
    keys: list[UUID | str | Problem] = []
    for i, ref in enumerate(refs):
        try:
            keys.append(ref_key(name, ref))
        except Invalid as problem:
            keys.append(Invalid(problem.message, field=f"{name}.{i}"))
    parties = await _load_visible(session, actor, [key for key in keys if not isinstance(key, Problem)])
    return [
        key if isinstance(key, Problem) else parties.get(key) or _not_found(name, i)
        for i, key in enumerate(keys)
    ]


def _not_found(name: str, index: int) -> NotFound:
    return NotFound("There is no such collective.", field=f"{name}.{index}")


async def _load_visible(
    session: AsyncSession, actor: Actor, keys: Sequence[UUID | str], *, are_records: bool = False
) -> dict[UUID | str, Party]:
    """Load the visible collectives of these keys, by id and by slug, in the round trip of what waits."""
    statement = _select_statement(actor)
    values = {n: viewer_terms.viewer_parameter(n, actor) for n in statement.names if n not in _KEYS}
    values["row_ids"] = [key for key in keys if isinstance(key, UUID)]
    values["slugs"] = [key for key in keys if isinstance(key, str)]
    (rows,) = await effects.fetch(session, Call(statement, values))
    parties: dict[UUID | str, Party] = {}
    for row in rows:
        tables = (Collective, Collective)
        parts = split_records(tables, row) if are_records else attach_rows(session, tables, row)
        collective, host, old_slug = parts
        is_hosted = collective.host_approved_at is not None
        party = Party(collective, host if is_hosted else None)
        parties |= {collective.id: party, collective.slug: party}
        if old_slug is not None:
            parties.setdefault(old_slug, party)
    return parties


_STATEMENTS: dict[str, Statement] = {}


def _select_statement(actor: Actor) -> Statement:
    """Return the statement for actors of one kind, which differ in its parameters only."""
    if actor.kind not in _STATEMENTS:
        _STATEMENTS[actor.kind] = compile_statement(_select_by_keys(visibility.collective_is_visible(actor)))
    return _STATEMENTS[actor.kind]


def _select_by_keys(is_visible: ColumnElement[bool]) -> Select[Any]:
    row_ids = bindparam("row_ids", type_=ARRAY(Uuid))
    slugs = bindparam("slugs", type_=ARRAY(Text))
    # Each part by its own index; the three conditions with OR would read every collective.
    found = union_all(
        select(func.unnest(row_ids)),
        select(col(_SOUGHT.id)).where(col(_SOUGHT.slug) == func.any(slugs)),
        select(col(SlugRedirect.collective_id)).where(col(SlugRedirect.slug) == func.any(slugs)),
    )
    return (
        select(
            *inspect(Collective).local_table.c,
            *(getattr(_HOST, name) for name in column_names(Collective)),
            col(SlugRedirect.slug),
        )
        .select_from(Collective)
        .outerjoin(_HOST, col(Collective.host_id) == _HOST.id)
        .outerjoin(
            SlugRedirect,
            and_(col(SlugRedirect.collective_id) == Collective.id, col(SlugRedirect.slug) == func.any(slugs)),
        )
        .where(col(Collective.id).in_(found), is_visible)
    )


def ref_key(name: str, ref: CollectiveKey) -> UUID | str:
    """Return the row id or the lower-case slug in a reference from the input field `name`.

    Raises:
        Invalid: the id is malformed or of another type, or the slug is empty.
    """
    if ref.id is not None:
        return public_ids.decode("Collective", ref.id, field=f"{name}.id")
    if not ref.slug or "\x00" in ref.slug:
        raise Invalid("Identify the collective by id or slug.", field=f"{name}.slug")
    return ref.slug.lower()


async def resolve_one(
    session: AsyncSession, actor: Actor, ref: CollectiveKey, *, name: str = "collective"
) -> Party:
    """Load one referenced collective with its host; as `resolve`."""
    return (await resolve(session, actor, {name: ref}))[name]


def require_collective(party: Party) -> Collective:
    """Return the collective of a party; the caller guarantees that it has one."""
    assert party.collective is not None
    return party.collective


def require_open(collective: Collective, *, field: str) -> None:
    """Require that a collective is not archived.

    Raises:
        InvalidState: the collective is archived.
    """
    if collective.archived_at is not None:
        raise InvalidState(f"{collective.slug} is archived.", field=field)
