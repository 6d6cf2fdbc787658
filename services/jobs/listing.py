"""Which jobs wait, run and failed, for the platform's ADMINs; and one more attempt at a failed one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Select,
    Text,
    Uuid,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
    text,
    true,
)
from sqlalchemy.ext.asyncio import AsyncSession

from models.enums import JobStatus
from services.access.actor import Actor
from services.access.permissions import Action, Subject, is_permitted, require
from services.access.viewer_terms import is_permitted_to
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
_END_EVENTS = ("succeeded", "failed", "cancelled", "aborted")
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Job:
    """A job of the worker, as the platform's ADMINs see it."""

    id: UUID
    """The library's number as a UUID, as public ids have it."""
    number: int
    name: str
    status: JobStatus
    attempts: int
    queued_at: datetime
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class JobFilter:
    """The status of jobs; None for any."""

    status: JobStatus | None = None


def _parse_number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise TypeError(value)
    return value


NEWEST_FIRST = Sort("job", column("number", BigInteger), column("id", Uuid), parse=_parse_number)


def are_visible(actor: Actor, _: object = None) -> Any:
    """True for those who may read the list of jobs."""
    return is_permitted_to(actor, Action.READ_JOBS)


async def list_jobs(
    session: AsyncSession, actor: Actor, *, status: JobStatus | None, page: PageRequest
) -> Page[Job] | None:
    """List a page of jobs, the newest first; None for all but the platform's ADMINs. One statement."""
    if not is_permitted(actor, Action.READ_JOBS, Subject()):
        return None
    (statement,) = select_jobs(actor, where=JobFilter(status))
    result = await session.execute(pagination.apply_keyset(statement, sort=NEWEST_FIRST, page=page))
    rows = [Job(*row) for row in result]
    if page.is_backward:
        rows.reverse()
    return pagination.to_page(rows, lambda: statement, sort=NEWEST_FIRST, page=page)


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
    again = await session.execute(_select_jobs(_JOB.c.id == job_id.int))
    return Job(*again.one())


def _has_status(status: JobStatus | None) -> Any:
    """Return a condition with its values written out, so that partial indexes match it."""
    if status is None:
        return true()
    names: list[Any] = [literal_column(f"'{name}'") for name, ours in _STATUSES.items() if ours == status]
    return _JOB.c.status.in_(names)


def select_jobs(actor: object, *, where: JobFilter, owner: object = None) -> tuple[Select[Any]]:
    """Select jobs, for those who may read the list of them."""
    del actor, owner
    return (_select_jobs(_has_status(where.status)),)


def _select_jobs(condition: Any) -> Select[Any]:
    """Select jobs with the columns of `Job`, in their order."""
    status = case(
        *((_JOB.c.status == literal_column(f"'{name}'"), _text(ours)) for name, ours in _STATUSES.items())
    )
    has_ended = ~_has_status(JobStatus.QUEUED) & ~_has_status(JobStatus.RUNNING)
    error = select(_FAILURE.c.error).where(_FAILURE.c.job_id == _JOB.c.id).scalar_subquery()
    jobs = select(
        cast(func.lpad(func.to_hex(_JOB.c.id), 32, "0"), Uuid).label("id"),
        _JOB.c.id.label("number"),
        _JOB.c.task_name.label("name"),
        status.label("status"),
        _JOB.c.attempts,
        _event_time(func.min).label("queued_at"),
        case((_has_status(JobStatus.QUEUED), _JOB.c.scheduled_at)).label("due_at"),
        _event_time(func.max, "started").label("started_at"),
        case((has_ended, _event_time(func.max, *_END_EVENTS))).label("finished_at"),
        error.label("error"),
    ).where(condition)
    return select(jobs.subquery("job"))


def _event_time(of: Any, *types: str) -> Any:
    """Select the time of the first or the last event of a job, of any type if none is named."""
    times = select(of(_EVENT.c.at)).where(_EVENT.c.job_id == _JOB.c.id)
    if types:
        times = times.where(_EVENT.c.type.in_([literal_column(f"'{name}'") for name in types]))
    return times.scalar_subquery()


def _text(value: str) -> Any:
    return literal_column(f"'{value}'", Text)
