"""Reading the audit log: what was done to a collective, to a person's account, and on the whole platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Select, literal_column, not_, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Act, ActSubject, Collective
from models.enums import TokenKind
from services.access import visibility
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted
from services.access.viewer_terms import is_in_session, is_permitted_to, is_platform_admin
from services.core import pagination
from services.core.pagination import Page, PageRequest, Sort

NEWEST_FIRST = Sort("at", col(ActSubject.at), col(ActSubject.act_id))
ALL_NEWEST_FIRST = Sort("at", col(Act.at), col(Act.id))


@dataclass(frozen=True)
class ActFilter:
    """The acts that a log shows of a collective: all, or those on a person's account."""

    is_security: bool


@dataclass(frozen=True)
class VisibleOrigin:
    """From where an act was made, for those who may know."""

    network: str | None
    token_id: UUID | None
    token_kind: str | None


def whole_log_is_visible(actor: Actor, _: object = None) -> Any:
    """True for those who may read the log of the whole platform."""
    return is_permitted_to(actor, Action.READ_WHOLE_AUDIT_LOG)


def session_is_visible(actor: Actor, act: Any) -> Any:
    """True for acts of sessions, if the actor may know from where an act was made."""
    is_session = act.token_kind == literal_column(f"'{TokenKind.SESSION}'")
    return is_session & visibility.act_origin_is_visible(actor, act)


def access_token_is_visible(actor: Actor, act: Any) -> Any:
    """True for acts of access tokens, if the actor may know from where an act was made."""
    is_token = act.token_kind == literal_column(f"'{TokenKind.ACCESS}'")
    return is_token & visibility.act_origin_is_visible(actor, act)


def database_role_is_visible(actor: Actor, _: object) -> Any:
    """True for the platform's ADMINs."""
    return is_platform_admin(actor)


def _is_readable(actor: Actor, table: Any) -> Any:
    """True unless an access token asks and the act is on a person's account."""
    return or_(not_(col(table.is_security)), is_in_session(actor))


def select_all(actor: Actor, *, where: object = None, owner: object = None) -> tuple[Select[Act]]:
    """Select the acts of the whole log that the actor may read who may read that log."""
    assert owner is None
    del where
    return (select(Act).where(_is_readable(actor, Act)),)


def select_acts(actor: Actor, *, where: ActFilter, owner: Any) -> tuple[Select[Act]]:
    """Select the acts in the log of a collective, for those who may read that log."""
    its = _subjects(actor, owner, where).with_only_columns(Act, maintain_column_froms=True)
    return (its.join(Act, col(Act.id) == ActSubject.act_id),)


def _subjects(actor: Actor, collective_id: Any, where: ActFilter) -> Select[Any]:
    statement = select(ActSubject).where(
        col(ActSubject.collective_id) == collective_id, _is_readable(actor, ActSubject)
    )
    return statement.where(col(ActSubject.is_security)) if where.is_security else statement


async def list_all(session: AsyncSession, actor: Actor, *, page: PageRequest) -> Page[Act] | None:
    """List a page of all acts, newest first; None for all but the platform's ADMINs.

    An access token reads no acts on people's accounts.
    """
    if not is_permitted(actor, Action.READ_WHOLE_AUDIT_LOG, Subject()):
        return None
    (statement,) = select_all(actor)
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

    Collectives whose log the actor may not read are left out. An access token reads no acts on people's
    accounts.
    """
    is_visible = visibility.security_log_is_visible if is_security else visibility.audit_log_is_visible
    of_collective = partial(_subjects, actor, where=ActFilter(is_security))
    parent = (
        select(col(Collective.id))
        .where(col(Collective.id).in_(collective_ids), is_visible(actor))
        .subquery("parent")
    )
    inner = pagination.apply_keyset(of_collective(parent.c.id), sort=NEWEST_FIRST, page=page).lateral("page")
    statement = (
        select(parent.c.id, Act)
        .select_from(parent)
        .outerjoin(inner, onclause=true())
        .outerjoin(Act, col(Act.id) == inner.c.act_id)
        .order_by(inner.c.at.desc(), inner.c.act_id.desc())
    )
    rows: dict[UUID, list[Act]] = {}
    for collective_id, act in (await session.execute(statement)).all():
        rows.setdefault(collective_id, []).extend([act] if act is not None else [])
    return {
        collective_id: pagination.to_page(
            its,
            partial(of_collective, collective_id),
            sort=ALL_NEWEST_FIRST,
            page=page,
        )
        for collective_id, its in rows.items()
    }


async def load_origins(
    session: AsyncSession, actor: Actor, *, act_ids: Sequence[UUID]
) -> dict[UUID, VisibleOrigin]:
    """Load from where acts were made, as far as the actor may know; one statement."""
    is_visible = visibility.act_origin_is_visible(actor)
    statement = select(Act).where(col(Act.id).in_(act_ids), is_visible)
    acts = (await session.execute(statement)).scalars()
    return {act.id: VisibleOrigin(act.network, act.token_id, act.token_kind) for act in acts}
