"""Which jobs wait, run and failed, for the platform's ADMINs; and one more attempt at a failed one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, Text, cast, column, func, literal_column, select, table, text, true
from sqlalchemy.ext.asyncio import AsyncSession

from models.enums import JobStatus
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted, require
from services.core import pagination
from services.core.errors import Conflict, InvalidState, NotFound
from services.core.pagination import Page, PageRequest, Sort

_JOB = table(
    "procrastinate_jobs",
    *(column(name) for name in ("task_name", "status", "attempts", "scheduled_at", "queueing_lock")),
    column("id", BigInteger),
    schema="jobs",
)
_EVENT = table("procrastinate_events", column("job_id"), column("type"), column("at"), schema="jobs")
_FAILURE = table("failure", column("job_id"), column("error"), schema="jobs")
_STATUSES = {
    "todo": JobStatus.QUEUED,
    "doing": JobStatus.RUNNING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "aborted": JobStatus.CANCELLED,
    "aborting": JobStatus.CANCELLED,
}
"""The library's words for the states of a job, and ours."""
NEWEST_FIRST = Sort("job", column("name", Text), column("id"), parse=pagination.parse_text)
"""Cursors hold the id alone, for ids are given in order; the name is there because a cursor has a value."""
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Job:
    """A job of the worker, as the platform's ADMINs see it."""

    id: UUID
    """The library's number as a UUID, as public ids have it."""
    name: str
    status: JobStatus
    attempts: int
    queued_at: datetime
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


async def list_jobs(
    session: AsyncSession, actor: Actor, *, status: JobStatus | None, page: PageRequest
) -> Page[Job] | None:
    """List a page of jobs, the newest first; None for all but the platform's ADMINs. One statement."""
    if not is_permitted(actor, Action.READ_JOBS, Subject()):
        return None
    every = select(_JOB.c.id).where(_has_status(status))
    statement = _select_jobs().where(_has_status(status))
    if page.cursor is not None:
        _, cursor = pagination.decode_cursor(page.cursor, NEWEST_FIRST, field=page.cursor_field)
        at = min(cursor.int, MAX_ID)
        statement = statement.where(_JOB.c.id > at if page.is_backward else _JOB.c.id < at)
    order = _JOB.c.id.asc() if page.is_backward else _JOB.c.id.desc()
    result = await session.execute(statement.order_by(order).limit(page.size + 1))
    rows = [_to_job(row) for row in result]
    if page.is_backward:
        rows.reverse()
    return pagination.to_page(rows, lambda: every, sort=NEWEST_FIRST, page=page)


async def retry(session: AsyncSession, actor: Actor, *, job_id: UUID) -> Job:
    """Queue a failed job again, for one more attempt. Locks: the job.

    Raises:
        NotFound: there is no such job, or not any more.
        InvalidState: the job has not failed.
        Conflict: its next turn waits already.
    """
    require(actor, Action.RETRY_JOB)
    locked = select(_JOB.c.status, _JOB.c.queueing_lock).where(_JOB.c.id == job_id.int).with_for_update()
    row = (await session.execute(locked)).one_or_none() if job_id.int <= MAX_ID else None
    if row is None:
        raise NotFound("There is no such job.", field="id")
    if _STATUSES[row.status] != JobStatus.FAILED:
        raise InvalidState("Only a job that failed is tried again.", field="id")
    waiting = select(_JOB.c.id).where(
        _JOB.c.queueing_lock == row.queueing_lock, _JOB.c.status == literal_column("'todo'")
    )
    if (await session.execute(waiting)).first() is not None:
        raise Conflict("The next turn of this job waits already.", field="id")
    await session.execute(
        text("SELECT jobs.procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)"), {"id": job_id.int}
    )
    again = await session.execute(_select_jobs().where(_JOB.c.id == job_id.int))
    return _to_job(again.one())


def _has_status(status: JobStatus | None) -> Any:
    """Return a condition with its values written out, so that partial indexes match it."""
    if status is None:
        return true()
    names: list[Any] = [literal_column(f"'{name}'") for name, ours in _STATUSES.items() if ours == status]
    return _JOB.c.status.in_(names)


def _select_jobs() -> Select[Any]:
    def of_types(*types: str) -> Any:
        return _EVENT.c.type.in_([literal_column(f"'{name}'") for name in types])

    events = (
        select(
            func.min(_EVENT.c.at).label("queued_at"),
            func.max(_EVENT.c.at).filter(of_types("started")).label("started_at"),
            func.max(_EVENT.c.at)
            .filter(of_types("succeeded", "failed", "cancelled", "aborted"))
            .label("finished_at"),
        )
        .where(_EVENT.c.job_id == _JOB.c.id)
        .lateral("event")
    )
    return select(
        _JOB.c.id,
        _JOB.c.task_name,
        cast(_JOB.c.status, Text).label("status"),
        _JOB.c.attempts,
        _JOB.c.scheduled_at,
        events.c.queued_at,
        events.c.started_at,
        events.c.finished_at,
        _FAILURE.c.error,
    ).select_from(
        _JOB.join(events, true()).outerjoin(_FAILURE, _FAILURE.c.job_id == _JOB.c.id),
    )


def _to_job(row: Any) -> Job:
    status = _STATUSES[row.status]
    has_ended = status not in {JobStatus.QUEUED, JobStatus.RUNNING}
    return Job(
        id=UUID(int=row.id),
        name=row.task_name,
        status=status,
        attempts=row.attempts,
        queued_at=row.queued_at,
        due_at=row.scheduled_at if status == JobStatus.QUEUED else None,
        started_at=row.started_at,
        finished_at=row.finished_at if has_ended else None,
        error=row.error,
    )
