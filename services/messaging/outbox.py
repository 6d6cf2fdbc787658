"""Queues mails in the transaction of the event they report, within the budgets; delivery comes later."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    cast,
    column,
    func,
    literal,
    null,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Credential, MutedTopic
from services.messaging import budgets
from services.messaging.budgets import MailBudgetExceeded
from services.messaging.preferences import find_topic
from services.round_trips import effects
from services.round_trips.pipelines import read_compiled

_SQL = read_compiled(Path(__file__).parent / "sql" / "outbox.sql")


async def mail_address(
    session: AsyncSession, *, address: str, template: str, payload: Mapping[str, Any]
) -> None:
    """Queue one mail to an address.

    Raises:
        MailBudgetExceeded: the sender or the network may send no more mails of this kind.
    """
    mail = select(
        literal(address).label("recipient"),
        cast(dict(payload), JSONB).label("payload"),
        cast(null(), Uuid).label("order_id"),
    )
    await _queue(session, mail, template=template)


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
    await _queue_same(
        session,
        "to_admins",
        list(collective_ids),
        template=template,
        payload=payload,
        order_id=order_id,
        except_id=except_id,
    )


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
    if not isinstance(user_ids, Select):
        await _queue_same(
            session,
            "to_users",
            list(user_ids),
            template=template,
            payload=payload,
            order_id=order_id,
            except_id=except_id,
        )
        return
    people = select(col(Credential.email)).where(
        col(Credential.user_id).in_(user_ids), _has_not_muted(template, payload), _is_not_user(except_id)
    )
    await _queue_each(session, people, template=template, payload=payload, order_id=order_id)


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
        select(col(Credential.email).label("recipient"), mail.c.payload, mail.c.order_id)
        .select_from(mail)
        .join(Credential, col(Credential.user_id) == mail.c.user_id)
        .where(_has_not_muted(template))
    )
    await _queue(session, source, template=template)


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


async def _queue_same(
    session: AsyncSession,
    statement: str,
    ids: list[UUID],
    *,
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None,
    except_id: UUID | None,
) -> None:
    """Queue the same mail to all whom a statement finds by these ids."""
    parameters = budgets.mail_parameters(session, template)
    values = {
        "ids": ids,
        "template": template,
        "payload": orjson.dumps(dict(payload), default=str).decode(),
        "order_id": order_id,
        "except_id": except_id,
        "topic": find_topic(template, order_type=payload.get("type")),
        "kind": parameters["kind"],
        "sender": parameters["sender"],
        "network": parameters["network"],
        "limits": orjson.dumps(parameters["limits"]).decode(),
    }
    # Only mails that somebody chose to send have a budget of their sender.
    check = _require_budget if parameters["kind"] in budgets.CHOSEN else None
    await effects.write(session, _SQL[statement], values, check=check)


def _require_budget(rows: Sequence[Any]) -> None:
    if (seconds := rows[0][0]) > 0:
        raise MailBudgetExceeded(retry_after_seconds=seconds)


async def _queue_each(
    session: AsyncSession,
    addresses: Select[str],
    *,
    template: str,
    payload: Mapping[str, Any],
    order_id: UUID | None,
) -> None:
    """Queue the same mail to each address."""
    people = addresses.subquery()
    mails = select(
        people.c.email.label("recipient"),
        cast(dict(payload), JSONB).label("payload"),
        (cast(literal(order_id), Uuid) if order_id else cast(null(), Uuid)).label("order_id"),
    )
    await _queue(session, mails, template=template)


async def _queue(session: AsyncSession, mails: Select[Any], *, template: str) -> None:
    """Queue mails by recipient, payload and order, within the budgets; `mail_queue` alone can do it."""
    parameters = budgets.mail_parameters(session, template)
    mail = mails.subquery()
    wait = await session.execute(
        select(
            func.mail_queue(
                literal(template, Text),
                literal(parameters["kind"], Text),
                func.array_agg(mail.c.recipient),
                func.array_agg(mail.c.payload),
                func.array_agg(mail.c.order_id),
                literal(parameters["sender"], Uuid),
                literal(parameters["network"], Text),
                literal(parameters["limits"], JSONB),
            )
        ).select_from(mail)
    )
    if (seconds := wait.scalar_one()) > 0:
        raise MailBudgetExceeded(retry_after_seconds=seconds)
