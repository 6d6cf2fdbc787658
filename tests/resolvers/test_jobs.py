"""The worker's jobs: who reads them, and another attempt at a failed one."""

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.factories import World, error_codes
from tests.job_world import add_failed_job, add_job, change_status, load_statuses
from tests.statement_counts import record_statements, without_control

JOBS = """query($status: JobStatus, $first: Int, $after: String) {
    jobs(status: $status, first: $first, after: $after) {
        nodes { id name status attempts queuedAt dueAt startedAt finishedAt error }
        pageInfo { hasNextPage endCursor } totalCount } }"""


async def jobs(world: World, **arguments: Any) -> Any:
    return (await world.query(JOBS, by=world.admin, **arguments))["jobs"]


async def test_admins_of_the_platform_see_what_waits_runs_and_failed(world: World) -> None:
    waiting, running = await add_job(world.sessions), await add_job(world.sessions, "audit_ledger")
    await change_status(world.sessions, running, "doing")
    await add_failed_job(world.sessions)
    done = await add_job(world.sessions)
    await change_status(world.sessions, done, "doing", "succeeded")
    gone = await add_job(world.sessions)
    await change_status(world.sessions, gone, "doing", "aborted")
    nodes = (await jobs(world))["nodes"]
    assert [(node["name"], node["status"]) for node in nodes] == [
        ("expire_orders", "CANCELLED"),
        ("expire_orders", "SUCCEEDED"),
        ("make_export", "FAILED"),
        ("audit_ledger", "RUNNING"),
        ("expire_orders", "QUEUED"),
    ]
    assert [node["error"] for node in nodes] == [None, None, "OSError: no space left", None, None]
    assert [node["startedAt"] is not None for node in nodes] == [True, True, True, True, False]
    assert [node["finishedAt"] is not None for node in nodes] == [True, True, True, False, False]
    assert all(node["queuedAt"] and node["id"].startswith("job_") for node in nodes)
    for status, name in [("QUEUED", "expire_orders"), ("FAILED", "make_export"), ("RUNNING", "audit_ledger")]:
        only = await jobs(world, status=status)
        assert ([node["name"] for node in only["nodes"]], only["totalCount"]) == ([name], 1)
    assert waiting


async def test_pages_follow_each_other(world: World) -> None:
    for _ in range(5):
        await add_job(world.sessions)
    first = await jobs(world, first=3)
    assert (len(first["nodes"]), first["pageInfo"]["hasNextPage"], first["totalCount"]) == (3, True, 5)
    rest = await jobs(world, first=3, after=first["pageInfo"]["endCursor"])
    assert (len(rest["nodes"]), rest["pageInfo"]["hasNextPage"], rest["totalCount"]) == (2, False, 5)
    assert not {node["id"] for node in first["nodes"]} & {node["id"] for node in rest["nodes"]}
    query = """query($last: Int, $before: String) { jobs(last: $last, before: $before) {
        nodes { id } pageInfo { hasPreviousPage startCursor } } }"""
    end = (await world.query(query, by=world.admin, last=2))["jobs"]
    assert [node["id"] for node in end["nodes"]] == [node["id"] for node in rest["nodes"]]
    before = end["pageInfo"]["startCursor"]
    start = (await world.query(query, by=world.admin, last=2, before=before))["jobs"]
    assert [node["id"] for node in start["nodes"]] == [node["id"] for node in first["nodes"][1:]]
    assert start["pageInfo"]["hasPreviousPage"] is True


async def test_others_see_none(world: World) -> None:
    await add_job(world.sessions)
    for other in (None, await world.person("ada")):
        assert (await world.query(JOBS, by=other))["jobs"] is None
    token = await world.access_token(world.admin, "READ")
    assert len((await world.query(JOBS, by=token))["jobs"]["nodes"]) == 1


@pytest.mark.parametrize("first", [1, 5])
async def test_any_number_takes_one_statement(world: World, engine: AsyncEngine, first: int) -> None:
    for _ in range(5):
        await add_failed_job(world.sessions)
    query = "query($n: Int) { jobs(first: $n) { nodes { name error } } }"
    with record_statements(engine) as statements:
        await world.query(query, by=world.admin, n=first)
    of_jobs = [each for each in without_control(statements) if "procrastinate_jobs" in each]
    assert len(of_jobs) == 1


async def test_a_failed_job_is_tried_again_once(world: World) -> None:
    job_id = await add_failed_job(world.sessions)
    (node,) = (await jobs(world))["nodes"]
    payload = await world.mutate(
        "retryJob", "job { id name status finishedAt }", by=world.admin, id=node["id"]
    )
    assert payload["errors"] == []
    assert payload["job"] == {
        "id": node["id"],
        "name": "make_export",
        "status": "QUEUED",
        "finishedAt": None,
    }
    await world.expect_problem("retryJob", "INVALID_STATE", ["input", "id"], by=world.admin, id=node["id"])
    assert await load_statuses(world.sessions) == {job_id: "todo"}


async def test_a_job_whose_next_turn_waits_is_not_tried_again(world: World) -> None:
    failed = await add_failed_job(world.sessions, "audit_ledger", lock="audit_ledger")
    waiting = await add_job(world.sessions, "audit_ledger", lock="audit_ledger")
    node = (await jobs(world, status="FAILED"))["nodes"][0]
    await world.expect_problem("retryJob", "CONFLICT", ["input", "id"], by=world.admin, id=node["id"])
    assert await load_statuses(world.sessions) == {failed: "failed", waiting: "todo"}


async def test_unknown_jobs_and_other_people_are_refused(world: World) -> None:
    failed = await add_failed_job(world.sessions)
    node = (await jobs(world))["nodes"][0]
    unknown = [
        ("job_" + "a" * 25 + "i", "NOT_FOUND"),
        ("job_" + "7" * 25 + "4", "NOT_FOUND"),
        ("none", "INVALID_INPUT"),
    ]
    for job_id, code in unknown:
        payload = await world.mutate("retryJob", by=world.admin, id=job_id)
        assert error_codes(payload) == [(code, ["input", "id"])]
    ada = await world.person("ada")
    query = "mutation($i: RetryJobInput!) { retryJob(input: $i) { errors { code } } }"
    for other, code in ((None, "UNAUTHENTICATED"), (ada, "FORBIDDEN")):
        body = await world.execute(query, by=other, i={"id": node["id"]})
        assert [error["extensions"]["code"] for error in body["errors"]] == [code]
    assert await load_statuses(world.sessions) == {failed: "failed"}
