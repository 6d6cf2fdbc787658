"""Mails that one process has claimed for some minutes, and what became of them.

What became of the last ones is recorded with the claim of the next ones, in one round trip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Integer, SmallInteger, bindparam, case, func, inspect, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlmodel import col

from models import MailStop, Outbox
from models.enums import Locale
from services.messaging import reader_languages
from services.round_trips import effects
from services.round_trips.pipelines import Call, Statement, compile_statement, read_compiled
from services.round_trips.records import split_records

LEASE = timedelta(minutes=5)
_SQL = read_compiled(Path(__file__).parent / "sql" / "delivery.sql")

Sessions = async_sessionmaker[AsyncSession]


@dataclass(frozen=True)
class ClaimedMail:
    """A mail that nobody else sends until its lease ends."""

    mail: Outbox
    due_at: datetime
    """When it was due before it was claimed."""
    locale: Locale
    """The language of its reader."""
    stop_token: str | None
    """The token that stops mails to a stranger."""


class Outcome(StrEnum):
    """What became of a claimed mail."""

    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    REFUSED = "REFUSED"
    """The mail server refused it for good."""
    UNSENT = "UNSENT"
    """Its turn did not come; it is as due as it was."""


def describe_outcome(
    claimed: ClaimedMail, outcome: Outcome, *, error: str | None = None, delay: timedelta | None = None
) -> dict[str, Any]:
    """Return what to record of a mail; a failed one is due again after a delay."""
    return {
        "id": claimed.mail.id,
        "attempts": claimed.mail.attempts,
        "outcome": outcome,
        "error": error,
        "delay_seconds": delay.total_seconds() if delay else None,
        "due_at": claimed.due_at,
    }


async def exchange(
    sessions: Sessions, outcomes: Sequence[dict[str, Any]], *, lane: int | None, count: int
) -> list[ClaimedMail]:
    """Record outcomes, and lease at most `count` due mails of a lane, or of all; the longest due come first.

    Mails that secure an account come before others. Locks the rows, skipping those locked by others.
    """
    calls = [_record_call(outcomes)] if outcomes else []
    values = {"count": count} | ({} if lane is None else {"lane": lane})
    *_, rows = await _run(sessions, *calls, Call(_claim_statement(has_lane=lane is not None), values))
    claimed = []
    for row in rows:
        mail, due_at, locale, stop_token = split_records((Outbox,), row)
        claimed.append(ClaimedMail(mail, due_at, Locale(locale), stop_token))
    return claimed


async def record(sessions: Sessions, outcomes: Sequence[dict[str, Any]]) -> None:
    """Record what became of mails."""
    if outcomes:
        await _run(sessions, _record_call(outcomes))


async def _run(sessions: Sessions, *calls: Call) -> list[list[Any]]:
    async with sessions() as session:
        return await effects.fetch_and_commit(session, *calls)


def _record_call(outcomes: Sequence[dict[str, Any]]) -> Call:
    return Call(_SQL["record"], {"outcomes": orjson.dumps(outcomes).decode()})


@cache
def _claim_statement(*, has_lane: bool) -> Statement:
    table: Any = inspect(Outbox).local_table
    due = (
        select(table.c.id, table.c.next_attempt_at.label("due_at"))
        .where(
            table.c.delivered_at.is_(None),
            table.c.failed_at.is_(None),
            table.c.next_attempt_at <= func.now(),
            *([table.c.lane == bindparam("lane", type_=SmallInteger)] if has_lane else []),
        )
        .order_by(table.c.lane, table.c.next_attempt_at, table.c.id)
        .limit(bindparam("count", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    until = func.now() + literal_column(f"interval '{LEASE.total_seconds():.0f} seconds'")
    leased = (
        update(table)
        .where(table.c.id == due.c.id)
        .values(attempts=table.c.attempts + 1, next_attempt_at=until)
        .returning(*table.c, due.c.due_at)
        .cte("leased")
    )
    stop_token = select(col(MailStop.token)).where(col(MailStop.address) == leased.c.recipient)
    return compile_statement(
        select(
            *leased.c,
            reader_languages.locale_of_mail(leased.c.recipient, leased.c.sender_id),
            case((leased.c.is_to_stranger, stop_token.scalar_subquery())),
        ).order_by(leased.c.lane, leased.c.due_at, leased.c.id)
    )
