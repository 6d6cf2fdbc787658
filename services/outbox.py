"""Mails, written in the transaction of the event they tell of; rendered and sent later."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, cast, func, insert, literal, null, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, Member, Outbox
from models.enums import MemberRole


async def to_address(
    session: AsyncSession, *, address: str, template: str, payload: Mapping[str, Any]
) -> None:
    """Queue one mail to an address."""
    session.add(Outbox(template=template, recipient=address, payload=dict(payload)))


async def to_admins(
    session: AsyncSession,
    *,
    collective_ids: Sequence[UUID],
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None = None,
    except_id: UUID | None = None,
) -> None:
    """Queue a mail to each verified ADMIN of the collectives, and to those that are users themselves.

    One statement, however many they are; nobody gets two, and not the one who acted.
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
            col(Credential.user_id) != except_id if except_id else literal(value=True),
        )
        .distinct()
        .subquery()
    )
    source = select(
        func.gen_random_uuid(), literal(template), people.c.email, cast(dict(payload), JSONB),
        cast(literal(order_id), Uuid) if order_id else cast(null(), Uuid),
    )  # fmt: skip
    await session.execute(
        insert(Outbox).from_select(
            ["id", "template", "recipient", "payload", "order_id"], source, include_defaults=False
        )
    )
