"""The job that charges recurring gifts: one transaction a gift, by any number of workers at once."""

import asyncio
import logging
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import Collective, now
from models.enums import GiftStatus, OrderStatus, PaymentMethodKind
from services.access.actor import Actor
from services.access.collective_refs import require_collective
from services.collectives import platform_policy
from services.core.errors import Problem
from services.database.constraint_errors import RETRYABLE, is_outage, problem_for, sqlstate
from services.recurring import gift_mails, periods, progress, refusals
from services.recurring.charge_methods import CHARGE_METHODS, Charge, ask_again
from services.recurring.gift_sides import TABLES, WITH_PERIOD, to_parties, write_changes
from services.round_trips import effects
from services.round_trips.pipelines import Call, read_compiled
from services.round_trips.records import split_records

BATCH = 200
CHARGES_AT_ONCE = 4
"""Gifts that one worker charges at the same time, each on a connection of its own."""
WORD_WITHIN = timedelta(hours=1)
"""After this, a payment provider that has not told what came of a charge is asked again."""
_SQL = read_compiled(Path(__file__).parent / "sql" / "charging.sql")

Sessions: TypeAlias = async_sessionmaker[AsyncSession]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """A gift that was due when it was looked for, with its sides."""

    id: UUID
    from_id: UUID
    to_id: UUID


async def charge_due(sessions: Sessions, *, at: datetime | None = None) -> int:
    """Act on all gifts that are due at `at`, or now: charge, skip, resume, or tell; return how many.

    Each worker takes the gifts in an order of its own, and leaves those that another works on.
    """
    moment = at or now()
    async with sessions.begin() as session:
        server = await _load_server(session)
    total = 0
    while due := await _list_due(sessions, moment):
        secrets.SystemRandom().shuffle(due)
        queue = iter(due)
        workers = [_work(sessions, server, queue, moment) for _ in range(CHARGES_AT_ONCE)]
        acted = sum(await asyncio.gather(*workers))
        if not acted:
            break
        total += acted
    return total


async def _load_server(session: AsyncSession) -> Actor:
    """Return the server as an actor, with the platform and its present fee."""
    policy = await platform_policy.load_policy(session)
    platform_id = await platform_policy.load_platform_id(session)
    return Actor(platform_id=platform_id, platform_fee_bps=policy.platform_fee_bps)


async def _list_due(sessions: Sessions, at: datetime) -> list[Due]:
    async with sessions.begin() as session:
        (rows,) = await effects.fetch(session, Call(_SQL["due"], {"at": at, "count": BATCH}))
        return [Due(*row) for row in rows]


async def _work(sessions: Sessions, server: Actor, queue: Iterator[Due], at: datetime) -> int:
    """Act on gifts of the queue until it is empty; return on how many."""
    return sum([await _act_on(sessions, server, due, at) for due in queue])


async def _act_on(sessions: Sessions, server: Actor, due: Due, at: datetime) -> bool:
    """Act on a gift. If that fails, note why; if that fails too, only try later. Each in a transaction."""
    problem: Problem | None = None

    async def note(session: AsyncSession, charge: Charge) -> None:
        await refusals.note(session, server, charge, problem, at=at)

    for act in (partial(_act, server=server, at=at), note, partial(_delay, at=at)):
        try:
            async with sessions.begin() as session:
                await effects.keep(session)
                charge = await _claim(session, due, at)
                if charge is not None:
                    await act(session, charge)
                    await write_changes(session, charge.gift)
                    await effects.store(session)
                return charge is not None
        except Exception as error:
            if isinstance(error, DBAPIError) and sqlstate(error) in RETRYABLE:
                return False  # it is still due
            if is_outage(error):
                raise
            problem = _find_problem(error, due)
    return False


async def _delay(session: AsyncSession, charge: Charge, *, at: datetime) -> None:
    await refusals.delay(session, charge.gift, at=at)


def _find_problem(error: Exception, due: Due) -> Problem | None:
    """Return the problem that an error stands for; one that stands for none is a bug, and logged."""
    if isinstance(error, Problem):
        return error
    problem = problem_for(error) if isinstance(error, DBAPIError) else None
    if problem is None:
        log.error("a recurring gift failed", exc_info=error, extra={"gift": str(due.id)})
    return problem


async def _claim(session: AsyncSession, due: Due, at: datetime) -> Charge | None:
    """Lock a gift that is still due, and both its sides, and load them; None if another works on it.

    They are records: what is changed in the gift is written by `write_changes`.

    Locks: the sides, then the gift.
    """
    keys = {"gift_id": due.id, "from_id": due.from_id, "to_id": due.to_id, "at": at}
    # The second statement begins after the locks of the first are there, so it reads what they keep.
    claimed, rows = await effects.fetch(
        session, Call(_SQL["claim"], keys), Call(WITH_PERIOD, {"gift_id": due.id})
    )
    if not claimed:
        return None
    gift, *sides, method, order = split_records(TABLES, rows[0])
    refused = order if order is not None and order.status == OrderStatus.FAILED else None
    awaited = order if refused is None else None
    return Charge(gift, *to_parties(*sides), method, refused, awaited)


async def _act(session: AsyncSession, charge: Charge, *, server: Actor, at: datetime) -> None:
    """Do what is due for a gift."""
    gift = charge.gift
    today = periods.day_of(at, gift.timezone)
    if gift.notice is not None:
        await _tell(session, charge)
    elif gift.status == GiftStatus.PAUSED:
        progress.resume(gift, today=today)
    elif charge.awaited is not None:
        if not progress.is_late(gift, at):  # else its payment is given up, which skips the period
            await ask_again(session, charge.awaited)
        gift.due_at = at + WORD_WITHIN
    elif progress.is_late(gift, at):
        skipped = gift.next_charge_on
        progress.advance(gift)
        await gift_mails.tell(session, gift, template="gift_skipped", to_ids=[gift.from_id], day=skipped)
    else:
        pay = CHARGE_METHODS[PaymentMethodKind(gift.payment_method_kind)]
        if await pay(session, server, charge):
            progress.advance(gift)
        else:
            gift.due_at = at + WORD_WITHIN


async def _tell(session: AsyncSession, charge: Charge) -> None:
    """Tell both sides what the database did to a gift."""
    gift = charge.gift
    assert gift.notice is not None
    note = gift_mails.NOTES[gift.notice]
    to_ids = [side.merged_into_id or side.id for side in _sides(charge)]
    if gift.status == GiftStatus.PAUSED:
        gift.pause_reason = note
        await gift_mails.tell(session, gift, template="gift_paused", to_ids=to_ids, note=note)
    else:
        gift.ended_reason = note
        await gift_mails.tell(session, gift, template="gift_ended", to_ids=to_ids, note=note)
    gift.notice, gift.due_at = None, None


def _sides(charge: Charge) -> Sequence[Collective]:
    return [require_collective(charge.payer), require_collective(charge.payee)]
