"""The worker's jobs, for the platform's admins."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from models.enums import JobStatus
from resolvers.context import Info
from schema.types.connection import After, Before, Connection, First, Last, to_page_request
from schema.types.enums import publish_enum
from schema.types.fields import computed
from services.core import public_ids
from services.jobs import listing

publish_enum(JobStatus)


@strawberry.type(
    description="Work that the server does apart from requests, such as an audit or a copy of personal data. "
    "Visible to the platform's admins."
)
class Job:
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

    @computed("id", description="Opaque ID of the job.", graphql_type=strawberry.ID)
    def id(root: strawberry.Parent[Any]) -> str:
        return public_ids.encode("Job", root.id)

    @staticmethod
    def is_type_of(obj: Any, _: Any) -> bool:
        """True for jobs as services list them."""
        return isinstance(obj, listing.Job)


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
