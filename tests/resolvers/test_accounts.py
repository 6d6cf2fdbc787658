"""People hold their own keys: passwords, sessions, and being shut out by the platform."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models import EmailToken, now
from models.enums import EmailTokenPurpose
from services.access.actor import hash_token
from services.core.errors import Busy
from services.identity import passwords
from tests.conftest import Database
from tests.factories import Person, World, error_codes, ref

OLD, NEW = "correct horse", "battery staple"
SESSIONS = "{ sessions { id device network isCurrent } }"


async def with_password(world: World, person: Person) -> None:
    secret = await passwords.hash_password(OLD)
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE credential SET password_hash = :h WHERE user_id = :u"),
            {"h": secret, "u": person.user.id},
        )


async def signed_in(world: World, person: Person, password: str = OLD) -> str:
    payload = await world.mutate("signIn", "session { token }", email=person.email, password=password)
    return str(payload["session"]["token"] if payload["session"] else payload["errors"][0]["code"])


async def is_signed_in(world: World, token: str) -> bool:
    return "data" in await world.execute("{ me { slug } }", by=token)


async def change(world: World, by: Person | str, **arguments: str) -> list[Any]:
    given = {"currentPassword": OLD, "newPassword": NEW} | arguments
    return error_codes(await world.mutate("changePassword", "user { slug }", by=by, **given))


async def test_a_password_is_changed_and_everything_else_ends(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    other, program = await signed_in(world, ada), await world.access_token(ada, "READ")
    await world.add(
        EmailToken(
            token_hash=hash_token("x"), user_id=ada.user.id, purpose=EmailTokenPurpose.RESET, expires_at=now()
        )
    )
    assert await change(world, ada) == []
    assert [await is_signed_in(world, token) for token in (ada.token, other, program)] == [True, False, False]
    assert await world.scalar("SELECT count(*) FROM email_token WHERE used_at IS NULL") == 0
    assert await world.scalar("SELECT recipient FROM outbox WHERE template = 'password_changed'") == ada.email
    assert await signed_in(world, ada) == "INVALID_INPUT"
    assert await is_signed_in(world, await signed_in(world, ada, NEW))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"currentPassword": "wrong"}, "currentPassword"),
        ({"newPassword": "short"}, "newPassword"),
        ({"newPassword": "password1"}, "newPassword"),
    ],
)
async def test_a_refused_change_changes_nothing(world: World, given: dict[str, str], field: str) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    before = await world.fingerprint()
    assert await change(world, ada, **given) == [("INVALID_INPUT", ["input", field])]
    assert await world.fingerprint() == before


async def test_an_access_token_changes_no_password(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    token = await world.access_token(ada, "READ", "COLLECTIVES")
    query = "mutation($i: ChangePasswordInput!) { changePassword(input: $i) { errors { code } } }"
    body = await world.execute(query, by=token, i={"currentPassword": OLD, "newPassword": NEW})
    assert [e["extensions"]["code"] for e in body["errors"]] == ["FORBIDDEN"]
    assert await signed_in(world, ada) != "INVALID_INPUT"


async def test_sessions_are_listed_and_ended(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await with_password(world, ada)
    phone, laptop = await signed_in(world, ada), await signed_in(world, ada)
    listed = (await world.query(SESSIONS, by=phone))["sessions"]
    assert [(s["network"], s["isCurrent"]) for s in listed] == [
        ("test", False),
        ("test", True),
        (None, False),
    ]
    refused = await world.mutate("endSession", "session { id }", by=eve, id=listed[0]["id"])
    assert error_codes(refused) == [("NOT_FOUND", ["input", "id"])]
    for expected in ([], [("NOT_FOUND", ["input", "id"])]):
        payload = await world.mutate("endSession", "session { id }", by=phone, id=listed[0]["id"])
        assert error_codes(payload) == expected
    assert [await is_signed_in(world, t) for t in (phone, laptop, ada.token)] == [True, False, True]
    query = "mutation { endOtherSessions { endedCount errors { code } } }"
    data = await world.query(query, by=phone)
    assert data["endOtherSessions"] == {"endedCount": 1, "errors": []}
    assert [await is_signed_in(world, t) for t in (phone, ada.token, eve.token)] == [True, False, True]


async def test_of_two_tabs_that_end_each_other_one_stays(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    tabs = [ada.token, await signed_in(world, ada)]
    query = "mutation { endOtherSessions { endedCount errors { code } } }"
    await asyncio.gather(*(world.execute(query, by=token) for token in tabs))
    assert sorted([await is_signed_in(world, token) for token in tabs]) == [False, True]


async def test_a_session_ends_when_nobody_uses_it(world: World, database: Database) -> None:
    ada = await world.person("ada")
    program = await world.access_token(ada, "READ")
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE token SET last_used_at = now() - interval '13 days'")
        assert await is_signed_in(world, ada.token)
        (age,) = (
            owner.execute("SELECT max(now() - last_used_at) FROM token WHERE kind = 'SESSION'").fetchone()
            or ()
        )
        assert await is_signed_in(world, program)
        (touched,) = owner.execute(
            "SELECT now() - last_used_at FROM token WHERE token_hash = %s", [hash_token(ada.token)]
        ).fetchone() or (None,)
        assert touched is not None
        assert touched.total_seconds() < 60 < age.total_seconds() + 61
        owner.execute("UPDATE token SET last_used_at = now() - interval '15 days'")
    assert [await is_signed_in(world, token) for token in (ada.token, program)] == [False, True]


async def test_a_suspended_person_is_out_at_once_until_reinstated(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await with_password(world, ada)
    program = await world.access_token(ada, "READ")
    payload = await world.mutate(
        "suspendUser", "user { slug }", by=world.admin, user=ref(ada), reason="Fraud"
    )
    assert payload == {"user": {"slug": "ada"}, "errors": []}
    assert [await is_signed_in(world, t) for t in (ada.token, program, eve.token)] == [False, False, True]
    assert await signed_in(world, ada) == "INVALID_STATE"
    assert await world.scalar("SELECT reason FROM suspension WHERE ended_at IS NULL") == "Fraud"
    again = await world.mutate("suspendUser", "user { slug }", by=world.admin, user=ref(ada), reason="Fraud")
    assert error_codes(again) == [("INVALID_STATE", ["input", "user"])]
    for expected in ([], [("INVALID_STATE", ["input", "user"])]):
        payload = await world.mutate("reinstateUser", "user { slug }", by=world.admin, user=ref(ada))
        assert error_codes(payload) == expected
    assert not await is_signed_in(world, ada.token)
    assert await is_signed_in(world, await signed_in(world, ada))


@pytest.mark.parametrize("reason", ["", " ", "\u200b", "x" * 1001])
async def test_a_suspension_needs_a_reason(world: World, reason: str) -> None:
    ada = await world.person("ada")
    before = await world.fingerprint()
    payload = await world.mutate("suspendUser", "user { slug }", by=world.admin, user=ref(ada), reason=reason)
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "reason"])]
    assert await world.fingerprint() == before


async def test_the_database_refuses_tokens_of_the_suspended_and_revoked_ones(
    world: World, database: Database
) -> None:
    ada = await world.person("ada")
    await world.mutate("suspendUser", "user { slug }", by=world.admin, user=ref(ada), reason="Fraud")
    with psycopg.connect(database.app_url, autocommit=True) as app:
        with pytest.raises(psycopg.errors.CheckViolation, match="suspended"):
            app.execute(
                "INSERT INTO token (id, user_id, kind, token_hash, expires_at)"
                " VALUES (gen_random_uuid(), %s, 'ACCESS', 'x', now() + interval '1 day')",
                [ada.user.id],
            )
        with pytest.raises(psycopg.errors.CheckViolation, match="revoked"):
            app.execute("UPDATE token SET revoked_at = NULL WHERE user_id = %s", [ada.user.id])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("UPDATE suspension SET reason = 'x'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM suspension")


async def test_beyond_a_short_queue_sign_ins_are_turned_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    monkeypatch.setattr(passwords, "MAX_WAITING", -passwords.MAX_AT_ONCE)
    query = "mutation($i: SignInInput!) { signIn(input: $i) { errors { code } } }"
    for _ in range(12):
        body = await world.execute(query, i={"email": ada.email, "password": OLD})
        assert [e["extensions"]["code"] for e in body["errors"]] == ["RATE_LIMITED"]
    with pytest.raises(Busy):
        await passwords.hash_password(OLD)
    monkeypatch.undo()
    assert await is_signed_in(world, await signed_in(world, ada))  # being turned away is no failure


async def test_one_mailbox_is_one_user_however_it_is_spelt(world: World) -> None:
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    for email in ("bea@b\u00fccher.example", "Bea@bu\u0308cher.example", "Bea <bea@xn--bcher-kva.example>"):
        await world.mutate("inviteMember", by=admin, collective=ref(club), role="MEMBER", email=email)
    assert await world.scalar("SELECT count(*) FROM credential WHERE email LIKE 'bea@%'") == 1
    assert (
        await world.scalar("SELECT count(*) FROM credential WHERE email = 'bea@xn--bcher-kva.example'") == 1
    )
