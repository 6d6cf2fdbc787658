"""Queues mails in the transaction of the event they report; delivery comes later."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    cast,
    column,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, Member, MutedTopic, Outbox
from models.enums import MemberRole
from services.messaging.preferences import find_topic


async def mail_address(
    session: AsyncSession, *, address: str, template: str, payload: Mapping[str, Any]
) -> None:
    """Queue one mail to an address."""
    session.add(Outbox(template=template, recipient=address, payload=dict(payload)))


async def mail_admins(
    session: AsyncSession,
    *,
    collective_ids: Sequence[UUID],
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None = None,
    except_id: UUID | None = None,
) -> None:
    """Queue a mail to each verified ADMIN of the collectives, and to users among them.

    One statement for any number of recipients. Nobody gets two mails; users who muted the topic and
    `except_id` get none.
    """
    people = (
        select(col(Credential.email))
        .outerjoin(
            Member,
            (col(Member.member_id) == Credential.user_id)
            & (col(Member.role) == MemberRole.ADMIN)
            & col(Member.until).is_(None),
        )
        .where(
            or_(
                col(Member.collective_id).in_(collective_ids),
                col(Credential.user_id).in_(collective_ids),
            ),
            col(Credential.verified_at).is_not(None),
            _has_not_muted(template, payload),
            _is_not_user(except_id),
        )
        .distinct()
    )
    await _queue(session, people, template=template, payload=payload, order_id=order_id)


async def mail_users(
    session: AsyncSession,
    *,
    user_ids: Sequence[UUID] | Select[UUID],
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None = None,
    except_id: UUID | None = None,
) -> None:
    """Queue a mail to each of the users with an address, verified or not.

    `user_ids` may be a subquery. One statement for any number of recipients. Users who muted the topic and
    `except_id` get none.
    """
    people = select(col(Credential.email)).where(
        col(Credential.user_id).in_(user_ids), _has_not_muted(template, payload), _is_not_user(except_id)
    )
    await _queue(session, people, template=template, payload=payload, order_id=order_id)


async def mail_each(
    session: AsyncSession, *, template: str, mails: Sequence[tuple[UUID, UUID, Mapping[str, Any]]]
) -> None:
    """Queue a separate mail for each (user, order, payload); one statement for any number.

    Users without an address, and those who muted the topic, get none.
    """
    mail = (
        func.unnest(
            literal([user_id for user_id, _, _ in mails], ARRAY(Uuid)),
            literal([order_id for _, order_id, _ in mails], ARRAY(Uuid)),
            literal([dict(payload) for _, _, payload in mails], ARRAY(JSONB)),
        )
        .table_valued(column("user_id", Uuid), column("order_id", Uuid), column("payload", JSONB))
        .render_derived(name="mail")
    )
    source = (
        select(
            func.gen_random_uuid(),
            literal(template),
            col(Credential.email),
            mail.c.payload,
            mail.c.order_id,
        )
        .select_from(mail)
        .join(Credential, col(Credential.user_id) == mail.c.user_id)
        .where(_has_not_muted(template))
    )
    await session.execute(
        insert(Outbox).from_select(
            ["id", "template", "recipient", "payload", "order_id"], source, include_defaults=False
        )
    )


def _has_not_muted(template: str, payload: Mapping[str, Any] | None = None) -> ColumnElement[bool]:
    """True in SQL if the credential's user has not muted the mail's topic."""
    topic = find_topic(template, order_type=(payload or {}).get("type"))
    if topic is None:
        return true()
    muted = select(MutedTopic).where(
        col(MutedTopic.user_id) == Credential.user_id, col(MutedTopic.topic) == topic
    )
    return ~muted.exists()


def _is_not_user(user_id: UUID | None) -> ColumnElement[bool]:
    return col(Credential.user_id) != user_id if user_id else true()


async def _queue(
    session: AsyncSession,
    addresses: Select[str],
    *,
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None,
) -> None:
    people = addresses.subquery()
    source = select(
        func.gen_random_uuid(),
        literal(template),
        people.c.email,
        cast(dict(payload), JSONB),
        cast(literal(order_id), Uuid) if order_id else cast(null(), Uuid),
    )
    await session.execute(
        insert(Outbox).from_select(
            ["id", "template", "recipient", "payload", "order_id"], source, include_defaults=False
        )
    )
