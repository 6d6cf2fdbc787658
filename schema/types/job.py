"""The worker's jobs, for the platform's admins."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.enums import JobStatus
from resolvers.context import Info
from schema.types import sql_lists
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import publish_enum
from schema.types.fields import shaped
from schema.types.node import id_field, is_row_of
from services.jobs import listing

publish_enum(JobStatus)


@strawberry.type(
    description="Work that the server does apart from requests, such as an audit or a copy of personal data. "
    "Visible to the platform's admins."
)
class Job:
    is_type_of = is_row_of(listing.Job)
    id: strawberry.ID = id_field("Job", description="Opaque ID of the job.")
    name: str = strawberry.field(description="Name of the work.")
    status: JobStatus = strawberry.field(description="State of the job: waiting, running or ended.")
    attempts: int = strawberry.field(description="Number of attempts that have ended.")
    queued_at: datetime = strawberry.field(description="When the job was queued.")
    due_at: datetime | None = strawberry.field(
        description="Earliest time of the next attempt, if the job waits for one. Null if it may start now."
    )
    started_at: datetime | None = strawberry.field(description="When the last attempt began.")
    finished_at: datetime | None = strawberry.field(
        description="When the job ended. Null while it waits or runs."
    )
    error: str | None = strawberry.field(
        description="Error of the last attempt that failed. Null if none did."
    )


@strawberry.type(description="A page of jobs.")
class JobConnection(Connection[Job]):
    pass


@strawberry.type
class JobQueries:
    """The jobs of the platform."""

    @strawberry.field(
        description="Jobs of the worker, newest first. Those that ended are kept for some days. Visible to "
        "the platform's admins; null for others.",
        graphql_type=JobConnection | None,
    )
    @shaped(sql_lists.JOBS)
    async def jobs(
        self,
        info: Info,
        status: Annotated[
            JobStatus | None, strawberry.argument(description="Only jobs with this status.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> JobConnection | None:
        request = to_page_request(first, after, last, before)
        page = await info.context.run(listing.list_jobs, status=status, page=request)
        return JobConnection(page=page) if page else None
