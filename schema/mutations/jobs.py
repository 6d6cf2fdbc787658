"""The worker's jobs: another attempt at a failed one."""

from typing import Any

import strawberry

from resolvers.context import Info
from schema.mutations.payload import Payload, answer_payload
from schema.types.job import Job
from services.core import public_ids
from services.jobs import listing


@strawberry.input(description="The failed job to try again.")
class RetryJobInput:
    id: strawberry.ID = strawberry.field(description="ID of the job.")


@strawberry.type(description="The job that waits for another attempt.")
class RetryJobPayload(Payload):
    job: Job | None = strawberry.field(default=None, description="The job, QUEUED again.")


@strawberry.type
class JobMutations:
    @strawberry.mutation(
        description="Queue a failed job again, for one more attempt. Allowed for platform admins. Errors: "
        "CONFLICT if its next turn waits already, INVALID_INPUT, INVALID_STATE if it has not failed, "
        "NOT_FOUND."
    )
    async def retry_job(self, info: Info, input: RetryJobInput) -> RetryJobPayload:
        async def work() -> dict[str, Any]:
            job_id = public_ids.decode("Job", input.id, field="id")
            return {"job": await info.context.run(listing.retry, job_id=job_id)}

        return await answer_payload(info, RetryJobPayload, work)
