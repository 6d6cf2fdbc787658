"""A database that says nothing, as a lost host does: answers come in time, and it goes on after that."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from schema.execution import unit_of_work
from schema.execution.unit_of_work import OperationRequest
from schema.types import errors
from services.access.rate_limits import Buckets
from tests.crashes.own_cluster import OwnCluster, assert_clean, scene_on, start_cluster
from tests.donation_world import DonationScene

HANG_SECONDS = 120
"""Far beyond every limit: only what waits for ever is met by it."""
SLUG = "query($s: String!) { collective(slug: $s) { slug } }"
Ask = Callable[..., Any]


def asking(scene: DonationScene, *, with_buckets: bool) -> Ask:
    """Return a sender of operations whose limit is two seconds."""
    settings = replace(scene.world.settings, execution_timeout_ms=2_000, commit_timeout_ms=2_000)
    buckets = Buckets(scene.world.sessions, settings) if with_buckets else None

    async def ask(query: str, *, token: str | None = None, **variables: Any) -> dict[str, Any]:
        request = OperationRequest(query=query, variables=variables, token=token, address="192.0.2.1")
        async with asyncio.timeout(HANG_SECONDS):
            result = await unit_of_work.execute(
                request, sessions=scene.world.sessions, settings=settings, buckets=buckets
            )
        return result.plain_body()

    return ask


def codes(body: dict[str, Any]) -> set[str]:
    """Return the codes of the errors."""
    return {error["extensions"]["code"] for error in body["errors"]}


@pytest.mark.parametrize("with_buckets", [False, True])
async def test_a_silent_database_holds_up_nobody_for_ever(tmp_path: Path, with_buckets: bool) -> None:
    with start_cluster(tmp_path) as cluster:
        async with scene_on(cluster) as scene:
            await _silence(cluster, scene, asking(scene, with_buckets=with_buckets))
        await assert_clean(cluster.settings)


async def _silence(cluster: OwnCluster, scene: DonationScene, ask: Ask) -> None:
    token = scene.giver.token
    for _ in range(3):  # connections of both kinds are open
        assert (await ask(SLUG, s="webpack"))["data"]["collective"]
        assert (await ask(SLUG, s="webpack", token=token))["data"]["collective"]
    with cluster.silenced():
        bodies = await asyncio.gather(
            *(ask(SLUG, s="webpack") for _ in range(3)),
            *(ask(SLUG, s="webpack", token=token) for _ in range(3)),
            *(ask("mutation { signOut { errors { code } } }", token=token) for _ in range(3)),
        )
        assert set().union(*map(codes, bodies)) <= {"TIMEOUT", "UNAVAILABLE"}
    async with asyncio.timeout(HANG_SECONDS):
        while "errors" in await ask(SLUG, s="webpack"):
            await asyncio.sleep(0.05)


async def test_an_outage_is_one_line_a_second_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    error = OperationalError("SELECT 1", {}, Exception("gone"))
    with caplog.at_level(logging.ERROR):
        answers = [errors.mask_error(error) for _ in range(50)]
    assert {answer["extensions"]["code"] for answer in answers} == {"UNAVAILABLE"}
    lines = [record for record in caplog.records if record.name == "commonweal.errors"]
    assert len(lines) < 50
    assert not any(record.exc_info for record in lines)
