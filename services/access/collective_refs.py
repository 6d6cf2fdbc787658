"""From what a client names to rows: collectives by id or slug, with their hosts, in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, SlugRedirect
from services.access import visibility
from services.access.actor import Actor
from services.core import public_ids
from services.core.errors import Invalid, InvalidState, NotFound, Problem
from services.core.party import Party


@dataclass(frozen=True)
class Ref:
    """A collective by public id or by slug; exactly one."""

    id: str | None = None
    slug: str | None = None


# Made once: an alias copies every column of its table, which took longer than the statement itself.
_HOST = aliased(Collective, name="host")


async def resolve(session: AsyncSession, actor: Actor, refs: Mapping[str, Ref]) -> dict[str, Party]:
    """Return each named collective with its host, keyed by the input field; one statement.

    A slug that a collective had before leads to it.

    Raises:
        Invalid: an id is of another type.
        NotFound: there is none, or the actor may not see it.
    """
    wanted = {name: key_of(name, ref) for name, ref in refs.items()}
    found = await _found(session, actor, list(wanted.values()))
    missing = [name for name, key in wanted.items() if key not in found]
    if missing:
        raise NotFound("There is no such collective", path=["input", missing[0]])
    return {name: found[key] for name, key in wanted.items()}


async def resolve_each(
    session: AsyncSession, actor: Actor, refs: Sequence[Ref], *, name: str
) -> list[Party | Problem]:
    """Return each of a list's collectives with its host, or why not, in their order; one statement."""
    keys: list[UUID | str | Problem] = []
    for i, ref in enumerate(refs):
        try:
            keys.append(key_of(name, ref))
        except Invalid as problem:
            keys.append(Invalid(problem.message, path=["input", name, str(i)]))
    found = await _found(session, actor, [key for key in keys if not isinstance(key, Problem)])
    return [
        key if isinstance(key, Problem) else found.get(key) or _missing(name, i) for i, key in enumerate(keys)
    ]


def _missing(name: str, place: int) -> NotFound:
    return NotFound("There is no such collective", path=["input", name, str(place)])


async def _found(session: AsyncSession, actor: Actor, keys: Sequence[UUID | str]) -> dict[UUID | str, Party]:
    """Return those that there are and the actor may see, by id and by slug; one statement."""
    row_ids = [key for key in keys if isinstance(key, UUID)]
    slugs = [key for key in keys if isinstance(key, str)]
    statement = (
        select(Collective, _HOST, col(SlugRedirect.slug))
        .outerjoin(_HOST, col(Collective.host_id) == _HOST.id)
        .outerjoin(
            SlugRedirect,
            (col(SlugRedirect.collective_id) == Collective.id) & col(SlugRedirect.slug).in_(slugs),
        )
        .where(
            or_(
                col(Collective.id).in_(row_ids),
                col(Collective.slug).in_(slugs),
                col(SlugRedirect.slug).is_not(None),
            ),
            visibility.of_collective(actor),
        )
    )
    found: dict[UUID | str, Party] = {}
    for collective, its_host, old_slug in (await session.execute(statement)).all():
        approved = collective.host_approved_at is not None
        party = Party(collective, its_host if approved else None)
        found |= {collective.id: party, collective.slug: party}
        if old_slug is not None:
            found.setdefault(old_slug, party)
    return found


def key_of(name: str, ref: Ref) -> UUID | str:
    """Return the id or the slug that a reference of the input field `name` is.

    Raises:
        Invalid: it is neither.
    """
    if ref.id is not None:
        return public_ids.decode("Collective", ref.id, path=["input", name, "id"])
    if not ref.slug or "\x00" in ref.slug:
        raise Invalid("Name the collective by id or slug", path=["input", name, "slug"])
    return ref.slug.lower()


async def resolve_one(session: AsyncSession, actor: Actor, ref: Ref, *, name: str = "collective") -> Party:
    """Return one named collective with its host, as `resolve`."""
    return (await resolve(session, actor, {name: ref}))[name]


def named(party: Party) -> Collective:
    """Return the collective of a side that has one."""
    assert party.collective is not None
    return party.collective


def require_open(collective: Collective, *, path: list[str]) -> None:
    """Let through what is not archived.

    Raises:
        InvalidState: it is archived.
    """
    if collective.archived_at is not None:
        raise InvalidState(f"{collective.slug} is archived", path=path)
