"""Reading the audit log: what was done to a collective, to a person's account, and on the whole platform."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Uuid, column, func, literal, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Act, ActSubject
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted
from services.core import pagination
from services.core.pagination import Page, PageRequest, Sort

NEWEST_FIRST = Sort("at", col(ActSubject.at), col(ActSubject.act_id))
ALL_NEWEST_FIRST = Sort("at", col(Act.at), col(Act.id))


async def list_all(session: AsyncSession, actor: Actor, *, page: PageRequest) -> Page[Act] | None:
    """List a page of all acts, newest first; None for all but the platform's ADMINs.

    An access token reads no acts on people's accounts.
    """
    if not is_permitted(actor, Action.READ_WHOLE_AUDIT_LOG, Subject()):
        return None
    statement = select(Act) if actor.scopes is None else select(Act).where(~col(Act.is_security))
    return await pagination.list_page(session, statement, sort=ALL_NEWEST_FIRST, page=page)


async def list_pages(
    session: AsyncSession,
    actor: Actor,
    *,
    collective_ids: Sequence[UUID],
    page: PageRequest,
    is_security: bool,
) -> dict[UUID, Page[Act]]:
    """List a page of the acts that concern each collective, newest first; one statement.

    Callers have checked that the actor may read them. An access token reads no acts on people's accounts.
    """
    of_collective = partial(_subjects, is_security=is_security, by_token=actor.scopes is not None)
    parent = (
        func.unnest(literal(list(collective_ids), ARRAY(Uuid)))
        .table_valued(column("id", Uuid))
        .render_derived(name="parent")
    )
    inner = pagination.apply_keyset(of_collective(parent.c.id), sort=NEWEST_FIRST, page=page).lateral("page")
    statement = (
        select(Act, inner.c.collective_id)
        .select_from(parent)
        .join(inner, onclause=true())
        .join(Act, col(Act.id) == inner.c.act_id)
        .order_by(inner.c.at.desc(), inner.c.act_id.desc())
    )
    rows: dict[UUID, list[Act]] = {collective_id: [] for collective_id in collective_ids}
    for act, collective_id in (await session.execute(statement)).all():
        rows[collective_id].append(act)
    return {
        collective_id: pagination.to_page(
            its,
            partial(of_collective, collective_id),
            sort=ALL_NEWEST_FIRST,
            page=page,
        )
        for collective_id, its in rows.items()
    }


def _subjects(collective_id: Any, *, is_security: bool, by_token: bool) -> Select[Any]:
    statement = select(ActSubject).where(col(ActSubject.collective_id) == collective_id)
    if by_token:
        statement = statement.where(~col(ActSubject.is_security))
    return statement.where(col(ActSubject.is_security)) if is_security else statement
