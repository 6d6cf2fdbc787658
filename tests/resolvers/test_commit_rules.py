"""Rules that the database checks at the commit, when no field is left to report a violation."""

from typing import Any

import pytest

from tests.factories import World, ref


async def test_a_commit_that_failed_spoils_no_later_operation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr("services.collectives.leaving._require_settled", nothing)
    ada, holder = await world.person("bea"), await world.person("holder-of-bea")
    club = await world.community("club-of-bea", await world.host("host-of-bea", holder), ada)
    await world.fund(club, "5.00", by=holder)
    query = """mutation($i: LeaveHostInput!) { leaveHost(input: $i) {
        collective { host { slug } } errors @include(if: true) { code } } }"""
    for _ in range(3):  # a directive leaves it to graphql-core, which commits at the end
        body = await world.execute(query, by=ada, i={"collective": ref(club)})
        assert [error["extensions"]["code"] for error in body["errors"]] == ["INVALID_STATE"]


async def test_a_rule_broken_at_the_commit_is_a_problem_and_no_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr("services.collectives.leaving._require_settled", nothing)
    ada, holder = await world.person("ada"), await world.person("holder")
    host = await world.host("first", holder)
    club = await world.community("club", host, ada)
    await world.fund(club, "5.00", by=holder)
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: LeaveHostInput!) { leaveHost(input: $i)"
        " { collective { slug } errors { code message } } }",
        by=ada,
        i={"collective": ref(club)},
    )
    payload = body["data"]["leaveHost"]
    assert payload["collective"] is None
    assert payload["errors"] == [
        {"code": "INVALID_STATE", "message": "Host and currency cannot change while there is a balance."}
    ]
    assert await world.fingerprint() == before
