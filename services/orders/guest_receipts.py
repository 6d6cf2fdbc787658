"""Receipts of guests' gifts: with a link by which whoever owns the address claims the gift."""

import secrets
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Credential, EmailToken, Order, now
from models.enums import EmailTokenPurpose
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
