"""Mails to givers, and to guests: a receipt has a link by which the address's owner claims the gift."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, Order, now
from models.enums import EmailTokenPurpose, GiverStatus, OrderType
from services.access.actor import hash_token
from services.core.party import Party
from services.messaging import outbox
from services.orders.base import mail_payload

CLAIM_DAYS = 30


async def send(session: AsyncSession, order: Order, *, payee: Party) -> None:
    """Mail the receipt of a paid gift; to who has an account without a link, because signing in suffices."""
    statement = (
        select(Collective, col(Credential.email))
        .join(Credential, col(Credential.user_id) == Collective.id)
        .where(col(Collective.id) == order.claimed_giver_id)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return
    user, address = row
    if user.claimed_at is not None:
        await outbox.mail_users(
            session,
            user_ids=[user.id],
            template="guest_gift",
            payload=mail_payload(order, to=payee),
            order_id=order.id,
        )
        return
    token = secrets.token_urlsafe(32)
    session.add(
        EmailToken(
            token_hash=hash_token(token),
            user_id=user.id,
            purpose=EmailTokenPurpose.VERIFY,
            expires_at=now() + timedelta(days=CLAIM_DAYS),
            name=order.private_message,  # the name that the guest gave
        )
    )
    await session.flush()
    await outbox.mail_address(
        session,
        address=address,
        template="guest_receipt",
        payload={**mail_payload(order, to=payee), "token": token},
    )


async def tell_giver(
    session: AsyncSession,
    order: Order,
    *,
    template: str,
    payload: Mapping[str, str],
    except_id: UUID | None = None,
) -> None:
    """Tell the payer's ADMINs of an order; of an unclaimed gift, whoever owns the guest's address instead."""
    if order.type != OrderType.DONATION or order.giver_status != GiverStatus.WAITING:
        await outbox.mail_admins(
            session,
            collective_ids=[order.from_id],
            template=template,
            payload=payload,
            order_id=order.id,
            except_id=except_id,
        )
        return
    assert order.claimed_giver_id is not None
    await outbox.mail_users(
        session, user_ids=[order.claimed_giver_id], template=template, payload=payload, order_id=order.id
    )
