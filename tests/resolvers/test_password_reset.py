"""Choosing a new password by a mailed token."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models import MergedEmail
from models.enums import Scope
from schema.execution import unit_of_work
from schema.server.app import create_application
from services.access import attempt_limits
from tests.conftest import Database
from tests.factories import World
from tests.resolvers.test_identity import (
    ADA,
    PASSWORD,
    SESSION,
    access_token,
    everything_stored,
    joined,
    mailed,
    sign_in,
    slug_of,
)
from tests.statement_counts import record_statements, without_control

NEW = "battery staple"
EMAIL = ADA["email"]
ASK = "mutation($i: RequestPasswordResetInput!) { requestPasswordReset(input: $i) { errors { code path } } }"


async def forgotten(world: World, email: str = EMAIL) -> None:
    assert await world.mutate("requestPasswordReset", email=email) == {"errors": []}


async def token_for(world: World) -> str:
    """Request a reset and return its token."""
    await forgotten(world)
    return str((await mailed(world, "password_reset"))[-1]["token"])


async def reset(world: World, token: str, password: str = NEW, **by: Any) -> dict[str, Any]:
    return await world.mutate("resetPassword", SESSION, token=token, password=password, **by)


async def expect_invalid_token(world: World, token: str) -> None:
    """A token that does not serve is NOT_FOUND, and nothing is stored."""
    before = await world.fingerprint()
    result = await reset(world, token)
    assert (result["user"], result["session"]) == (None, None)
    assert [(e["code"], e["path"]) for e in result["errors"]] == [("NOT_FOUND", ["input", "token"])]
    assert await world.fingerprint() == before


async def test_a_mailed_token_sets_a_password_and_signs_in(world: World, database: Database) -> None:
    user_id, _ = await joined(world)
    await forgotten(world, " ADA@Example.org ")
    (mail,) = await mailed(world, "password_reset")
    assert (mail["to"], set(mail)) == (EMAIL, {"to", "token"})
    assert mail["token"] not in await everything_stored(database)
    result = await reset(world, mail["token"])
    assert result["errors"] == []
    assert result["user"]["id"] == user_id
    assert await slug_of(world, result["session"]["token"]) == result["user"]["slug"]
    assert await sign_in(world) == "INVALID_INPUT"
    assert (await sign_in(world, password=NEW)).startswith("cws_")
    assert await mailed(world, "password_changed") == [{"to": EMAIL, "name": "Ada"}]
    stored = await world.scalar("SELECT password_hash FROM credential WHERE email = :e", e=EMAIL)
    assert stored.startswith("$argon2id$v=19$m=65536,")
    await expect_invalid_token(world, mail["token"])


async def test_a_reset_ends_only_this_users_sessions(world: World) -> None:
    eve = await world.person("eve")
    _, session = await joined(world)
    program = (await access_token(world, session))["token"]
    other = await sign_in(world)
    result = await reset(world, await token_for(world), by=session)
    assert result["errors"] == []
    for token in (session, other, program):
        assert await slug_of(world, token) is None
    assert await slug_of(world, result["session"]["token"]) is not None
    assert await slug_of(world, eve.token) == "eve"


async def test_a_session_that_a_reset_ends_cannot_act_later_in_the_operation(world: World) -> None:
    _, session = await joined(world)
    query = """mutation($i: ResetPasswordInput!) { resetPassword(input: $i) { errors { code } }
        muteTopics(input: {topics: [MONEY]}) { errors { code } } }"""
    arguments = {"token": await token_for(world), "password": NEW}
    body = await world.execute(query, by=session, i=arguments)
    assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]


async def test_a_reset_invalidates_the_other_mailed_tokens(world: World) -> None:
    await world.mutate("signUp", "user { id }", **ADA)
    await joined(world)
    (old, _) = await mailed(world)
    first, second = await token_for(world), await token_for(world)
    assert (await reset(world, second))["errors"] == []
    await expect_invalid_token(world, first)
    again = await world.mutate("verifyEmail", SESSION, token=old["token"], password=NEW)
    assert [e["code"] for e in again["errors"]] == ["NOT_FOUND"]
    assert await sign_in(world, password=NEW) != "INVALID_INPUT"


async def test_one_of_two_concurrent_resets_succeeds(world: World) -> None:
    await joined(world)
    tokens = [await token_for(world) for _ in range(2)]
    result = await asyncio.gather(*(reset(world, token) for token in [*tokens, tokens[0]]))
    assert sorted(len(answer["errors"]) for answer in result) == [0, 1, 1]
    assert len(await mailed(world, "password_changed")) == 1


async def test_a_token_with_another_purpose_is_refused(world: World) -> None:
    await joined(world)
    await world.mutate("signUp", "user { id }", **(ADA | {"email": "bob@example.org"}))
    verifying = (await mailed(world))[-1]["token"]
    await expect_invalid_token(world, verifying)
    resetting = await token_for(world)
    before = await world.fingerprint()
    payload = await world.mutate("verifyEmail", SESSION, token=resetting, password=NEW)
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("NOT_FOUND", ["input", "token"])]
    assert await world.fingerprint() == before
    assert (await reset(world, resetting))["errors"] == []
    assert (await world.mutate("verifyEmail", SESSION, token=verifying, password=NEW))["errors"] == []


async def test_a_token_is_good_for_two_hours(world: World, database: Database) -> None:
    _, session = await joined(world)
    token = await token_for(world)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        query = "SELECT expires_at - now() FROM email_token WHERE purpose = 'RESET'"
        (left,) = owner.execute(query).fetchone() or ()
        assert timedelta(minutes=119) < left <= timedelta(hours=2)
        owner.execute("UPDATE email_token SET expires_at = now() - interval '1 second'")
    for wrong in (token, "unknown", "", "\x07", session):
        await expect_invalid_token(world, wrong)


@pytest.mark.parametrize("password", ["short", "x" * 201])
async def test_an_invalid_password_does_not_use_up_the_token(world: World, password: str) -> None:
    await joined(world)
    token = await token_for(world)
    before = await world.fingerprint()
    result = await reset(world, token, password)
    assert [(e["code"], e["path"]) for e in result["errors"]] == [("INVALID_INPUT", ["input", "password"])]
    assert await world.fingerprint() == before
    assert (await reset(world, token))["errors"] == []


async def test_no_response_and_no_statement_reveals_if_an_address_is_registered(
    world: World, engine: AsyncEngine
) -> None:
    ada, into = await world.person("ada"), await world.person("into")
    await world.person("ghost", claimed=False)
    await world.mutate("signUp", "user { id }", **(ADA | {"email": "unproved@example.org"}))
    await world.add(MergedEmail(email="merged@example.org", user_id=into.user.id))
    unknown = ("ghost@commonweal.test", "unproved@example.org", "merged@example.org", "nobody@example.org")
    counts = set()
    for email in (ada.email, *unknown):
        with record_statements(engine) as statements:
            await forgotten(world, email)
        counts.add(len(without_control(statements)))
    assert len(counts) == 1
    assert [mail["to"] for mail in await mailed(world, "password_reset")] == [ada.email]
    assert await world.scalar("SELECT count(*) FROM email_token WHERE purpose = 'RESET'") == 1


async def test_an_invalid_address_is_refused(world: World) -> None:
    before = await world.fingerprint()
    payload = await world.mutate("requestPasswordReset", email="no address")
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("INVALID_INPUT", ["input", "email"])]
    assert await world.fingerprint() == before


async def test_reset_mails_cannot_be_muted(world: World) -> None:
    _, session = await joined(world)
    topics = ["MONEY", "HOURS", "EVENTS", "REDEMPTIONS", "MEMBERS"]
    assert (await world.mutate("muteTopics", by=session, topics=topics))["errors"] == []
    assert (await reset(world, await token_for(world)))["errors"] == []
    assert len(await mailed(world, "password_changed")) == 1


async def test_an_access_token_without_scopes_can_reset_like_an_anonymous_viewer(world: World) -> None:
    await joined(world)
    eve = await world.person("eve")
    program = await world.access_token(eve, Scope.READ)
    assert (await reset(world, await token_for(world), by=program))["errors"] == []
    assert await slug_of(world, program) == "eve"


async def asked(world: World, email: str, address: str) -> str:
    """Request a reset from a network address; return the error's code, or OK."""
    request = unit_of_work.OperationRequest(query=ASK, variables={"i": {"email": email}}, address=address)
    answer = await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
    errors = answer.body["data"]["requestPasswordReset"]["errors"]
    assert [error["path"] for error in errors] in ([], [["input", "email"]])
    return str(errors[0]["code"]) if errors else "OK"


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.org"])
async def test_mails_are_counted_by_address_and_by_network_address(world: World, email: str) -> None:
    await joined(world)
    for _ in range(attempt_limits.SIGN_UPS_PER_ACCOUNT):
        assert await asked(world, email, "192.0.2.1") == "OK"
    before = await world.fingerprint()
    for address in ("192.0.2.1", "192.0.2.2", ""):
        assert await asked(world, email.upper(), address) == "RATE_LIMITED"
    assert await world.fingerprint() == before
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE throttle SET attempts = :most WHERE key = 'password-reset:address:192.0.2.1'"),
            {"most": world.settings.sign_up_mails_per_address},
        )
    assert await asked(world, "other@example.org", "192.0.2.1") == "RATE_LIMITED"
    assert await asked(world, "other@example.org", "192.0.2.2") == "OK"
    payload = await world.mutate("signUp", "user { id }", **(ADA | {"email": email}))  # counted apart
    assert payload["errors"] == []


async def test_the_mailed_link_opens_a_form_that_sets_the_password(world: World, database: Database) -> None:
    await joined(world)
    token = await token_for(world)
    app = create_application(database.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as browser:
            arguments: dict[str, Any] = {"url": "/reset", "params": {"token": token}}
            response = await browser.get(**arguments)
            bad = [
                await browser.post(**arguments, data={"password": "short"}),
                await browser.post(**arguments, data={"password": "x" * 20_000}),
                await browser.post(**arguments),
                await browser.post(**arguments, content="&".join("a=b" for _ in range(20))),
                await browser.post("/reset", data={"password": NEW}),
            ]
            result = await browser.post(**arguments, data={"password": "grün & mehr %"})
            again = await browser.post(**arguments, data={"password": NEW})
            forged = await browser.get("/reset", params={"token": '"><script>alert(1)</script>'})
    assert response.status_code == 200
    assert 'type="password"' in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert [(answer.status_code, "password" in answer.text) for answer in bad] == [(400, True)] * 5
    assert (result.status_code, again.status_code) == (200, 400)
    assert "no longer valid" in again.text
    assert "<script" not in forged.text
    assert await sign_in(world) == "INVALID_INPUT"
    assert (await sign_in(world, password="grün & mehr %")).startswith("cws_")


async def test_a_sign_in_with_a_password_that_changes_meanwhile_is_refused(
    world: World, database: Database
) -> None:
    await joined(world)
    waiting = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    with psycopg.connect(database.owner_url) as owner:
        owner.execute("SELECT FROM credential FOR UPDATE")
        trying = asyncio.create_task(sign_in(world, password=PASSWORD))
        async with asyncio.timeout(10):
            while not await world.scalar(waiting):
                await asyncio.sleep(0.01)
        owner.execute("UPDATE credential SET password_hash = 'another'")
    assert await trying == "INVALID_INPUT"
