"""Authenticator apps and recovery codes: each code works once, and who has one is asked for it."""

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models import Member
from models.enums import MemberRole
from services.core.errors import ConfigurationError, NotFound, Unavailable
from services.core.settings import Settings
from services.identity import lost_factors
from services.identity.sealed_secrets import open_sealed, seal
from services.jobs import retention
from tests.conftest import Database
from tests.factor_world import (
    PASSWORD,
    age_confirmation,
    code_of,
    run,
    steady,
    top_error,
    with_app,
    with_passkey,
    with_password,
)
from tests.factories import Person, World, error_codes, ref

FACTORS = "{ secondFactors { ways totpSince recoveryCodesLeft requiredBy } }"


async def begin(world: World, person: Person) -> str:
    """Sign in with the password; return the token of the challenge."""
    fields = "user { slug } session { token } challenge { token ways }"
    payload = await world.mutate("signIn", fields, email=person.email, password=PASSWORD)
    assert (payload["user"], payload["session"], payload["errors"]) == (None, None, [])
    return str(payload["challenge"]["token"])


async def complete(world: World, challenge: str, **factor: str) -> Any:
    """Complete a sign-in; return the session's token, or the errors."""
    payload = await world.mutate("completeSignIn", "session { token }", challenge=challenge, **factor)
    return payload["session"]["token"] if payload["session"] else error_codes(payload)


async def test_an_operator_lets_a_person_in_who_lost_every_factor(
    world: World, sessions: async_sessionmaker[AsyncSession]
) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await with_app(world, ada)
    await with_passkey(world, ada)
    begun = await begin(world, ada)
    async with sessions.begin() as session:
        await lost_factors.remove_factors(session, email=ada.email)
    assert await complete(world, begun, recoveryCode="0000-0000-0000-0000") == OVER
    payload = await world.mutate(
        "signIn", "session { token } challenge { token }", email=ada.email, password=PASSWORD
    )
    assert (payload["challenge"], payload["errors"]) == (None, [])
    ended = await world.execute("{ me { slug } }", by=ada)  # the session from before
    assert ended["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    with pytest.raises(NotFound):
        async with sessions.begin() as session:
            await lost_factors.remove_factors(session, email="nobody@example.org")


WRONG = [("INVALID_INPUT", ["input", "code"])]
OVER = [("NOT_FOUND", ["input", "challenge"])]


async def test_a_code_completes_a_sign_in_once_and_never_after_a_later_one(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, codes = await with_app(world, ada)
    assert len(set(codes)) == 10
    first = await begin(world, ada)
    assert await complete(world, first, code=code_of(secret, seconds=-30)) == WRONG  # used to activate
    for seconds in (-90, 90, 120):
        assert await complete(world, first, code=code_of(secret, seconds=seconds)) == WRONG
    token = await complete(world, first, code=code_of(secret, seconds=30))  # a clock that is early
    assert (await world.query("{ me { slug } }", by=token))["me"] == {"slug": "ada"}
    assert await complete(world, first, code=code_of(secret, seconds=30)) == OVER
    second = await begin(world, ada)
    for seconds in (30, 0, -30):  # replayed, then reordered
        assert await complete(world, second, code=code_of(secret, seconds=seconds)) == WRONG
    assert await world.scalar("SELECT factor FROM token ORDER BY id DESC LIMIT 1") == "TOTP"
    told = await world.scalar("SELECT payload ->> 'factor' FROM outbox WHERE template = 'factor_added'")
    assert told == "an authenticator app"


async def test_of_ten_with_one_code_one_gets_in(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, _ = await with_app(world, ada)
    challenges = [await begin(world, ada) for _ in range(5)]
    code = code_of(secret)
    results = await asyncio.gather(*[complete(world, c, code=code) for c in challenges for _ in range(2)])
    assert len([r for r in results if isinstance(r, str)]) == 1


async def test_a_recovery_code_works_once(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    _, codes = await with_app(world, ada)
    spelt = codes[0].lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert isinstance(await complete(world, await begin(world, ada), recoveryCode=spelt), str)
    again = await complete(world, await begin(world, ada), recoveryCode=codes[0])
    assert again == [("INVALID_INPUT", ["input", "recoveryCode"])]
    (left,) = [(await world.query(FACTORS, by=ada))["secondFactors"][name] for name in ("recoveryCodesLeft",)]
    assert left == 9
    assert await world.scalar("SELECT payload ->> 'factor' FROM outbox WHERE template = 'recovery_code_used'")
    renewed = (await run(world, "renewRecoveryCodes", "recoveryCodes", by=ada))["recoveryCodes"]
    assert not set(renewed) & set(codes)
    old = await complete(world, await begin(world, ada), recoveryCode=codes[1])
    assert old == [("INVALID_INPUT", ["input", "recoveryCode"])]
    assert isinstance(await complete(world, await begin(world, ada), recoveryCode=renewed[0]), str)


async def test_the_log_names_who_used_a_recovery_code_and_how(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    _, codes = await with_app(world, ada)
    await complete(world, await begin(world, ada), recoveryCode=codes[0])
    used = await world.scalar(
        "SELECT mutation || ' by ' || c.slug FROM act a JOIN collective c ON c.id = a.actor_id"
        " WHERE a.kind = 'RECOVERY_CODE' AND a.change = 'CHANGED'"
    )
    assert used == "completeSignIn by ada"


async def test_a_suspended_person_is_refused_before_the_second_step(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await with_app(world, ada)
    await world.mutate("suspendUser", by=world.admin, user=ref(ada), reason="A test")
    before = await world.scalar("SELECT count(*) FROM challenge")
    payload = await world.mutate("signIn", "challenge { token }", email=ada.email, password=PASSWORD)
    assert (payload["challenge"], [error["code"] for error in payload["errors"]]) == (None, ["INVALID_STATE"])
    assert await world.scalar("SELECT count(*) FROM challenge") == before


async def test_a_sign_in_while_its_person_is_archived_is_refused(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await with_app(world, ada)
    before = await world.scalar("SELECT count(*) FROM challenge")
    async with world.sessions() as session, session.begin():
        lock = text("SELECT FROM collective WHERE id = :id FOR UPDATE")
        await session.execute(lock, {"id": ada.user.id})
        begun = asyncio.create_task(
            world.mutate("signIn", "challenge { token }", email=ada.email, password=PASSWORD)
        )
        await asyncio.wait([begun], timeout=1)
        assert not begun.done()
        archive = text("UPDATE collective SET archived_at = now() WHERE id = :id")
        await session.execute(archive, {"id": ada.user.id})
    payload = await begun
    assert (payload["challenge"], [error["code"] for error in payload["errors"]]) == (None, ["INVALID_STATE"])
    assert await world.scalar("SELECT count(*) FROM challenge") == before


async def test_codes_cannot_be_guessed_but_a_recovery_code_still_works(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, codes = await with_app(world, ada)
    challenge = await begin(world, ada)
    wrong = f"{(int(code_of(secret)) + 500_000) % 1_000_000:06}"
    results = [await complete(world, challenge, code=wrong) for _ in range(11)]
    assert results[:10] == [WRONG] * 10
    assert results[10] == [("RATE_LIMITED", ["input", "code"])]
    assert await complete(world, challenge, code=code_of(secret)) == results[10]
    assert isinstance(await complete(world, challenge, recoveryCode=codes[0]), str)


@pytest.mark.parametrize("given", [{}, {"code": "123456", "recoveryCode": "x"}])
async def test_exactly_one_factor_is_given(world: World, given: dict[str, str]) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await with_app(world, ada)
    payload = await world.mutate("completeSignIn", challenge=await begin(world, ada), **given)
    assert [e["code"] for e in payload["errors"]] == ["INVALID_INPUT"]


async def test_a_challenge_is_of_one_person_and_short_lived(world: World, owner: Any) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await with_password(world, ada)
    secret, _ = await with_app(world, ada)
    _, codes = await with_app(world, eve)
    token = await begin(world, ada)
    foreign = await complete(world, token, recoveryCode=codes[0])
    assert foreign == [("INVALID_INPUT", ["input", "recoveryCode"])]
    owner.execute("UPDATE challenge SET expires_at = now() - interval '1 second'")
    assert await complete(world, token, code=code_of(secret)) == OVER
    assert await complete(world, "cwc_none", code=code_of(secret)) == OVER
    await begin(world, ada)
    await retention.prune_rows(world.sessions, kind="CHALLENGES", days=0)
    assert await world.scalar("SELECT count(*) FROM challenge") == 1


async def test_a_new_password_ends_begun_sign_ins_and_asks_for_the_factor(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, _ = await with_app(world, ada)
    challenge = await begin(world, ada)
    await world.mutate("requestPasswordReset", email=ada.email)
    token = await world.scalar("SELECT payload ->> 'token' FROM outbox WHERE template = 'password_reset'")
    payload = await world.mutate(
        "resetPassword",
        "session { token } challenge { token ways }",
        token=token,
        password="battery staple",
    )
    assert payload["session"] is None
    assert payload["challenge"]["ways"] == ["TOTP", "RECOVERY_CODE"]
    assert await complete(world, challenge, code=code_of(secret)) == OVER
    assert isinstance(await complete(world, payload["challenge"]["token"], code=code_of(secret)), str)


async def test_an_app_is_enrolled_once_and_removed_with_its_codes(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    payload = await world.mutate("activateTotp", by=ada, code="123456")
    assert [e["code"] for e in payload["errors"]] == ["INVALID_STATE"]
    assert (await run(world, "disableTotp", "", by=ada))["errors"][0]["code"] == "INVALID_STATE"
    assert (await run(world, "renewRecoveryCodes", "", by=ada))["errors"][0]["code"] == "INVALID_STATE"
    steady()
    made = await run(world, "enrollTotp", "secret uri qrCode", by=ada)
    assert made["uri"].startswith("otpauth://totp/Commonweal:ada%40commonweal.test?secret=")
    assert made["qrCode"].startswith("data:image/svg+xml")
    assert error_codes(await world.mutate("activateTotp", by=ada, code="12345")) == WRONG
    newer = await run(world, "enrollTotp", "secret", by=ada)
    assert error_codes(await world.mutate("activateTotp", by=ada, code=code_of(made["secret"]))) == WRONG
    assert (await world.query(FACTORS, by=ada))["secondFactors"]["ways"] == ["PASSWORD"]
    done = await world.mutate("activateTotp", "recoveryCodes", by=ada, code=code_of(newer["secret"]))
    assert done["errors"] == []
    assert (await run(world, "enrollTotp", "secret", by=ada))["errors"][0]["code"] == "INVALID_STATE"
    assert (await world.query(FACTORS, by=ada))["secondFactors"]["ways"] == ["TOTP", "RECOVERY_CODE"]
    assert (await run(world, "disableTotp", "", by=ada))["errors"] == []
    assert await world.scalar("SELECT count(*) FROM recovery_code") == 0
    assert await world.scalar("SELECT count(*) FROM outbox WHERE template = 'factor_removed'") == 1
    signed_in = await world.mutate("signIn", "session { token }", email=ada.email, password=PASSWORD)
    assert signed_in["session"] is not None


async def test_secrets_are_encrypted_with_the_key_of_the_installation(world: World) -> None:
    keys = ("k" * 32, "old" * 11)
    world.settings = replace(world.settings, secret_key=", ".join(keys))
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, _ = await with_app(world, ada)
    stored = bytes(await world.scalar("SELECT secret FROM totp_factor"))
    assert secret.encode() not in stored
    assert open_sealed(stored, user_id=ada.user.id, keys=keys[:1]) == secret.encode()
    older = seal(secret.encode(), user_id=ada.user.id, keys=keys[1:])
    assert open_sealed(older, user_id=ada.user.id, keys=keys) == secret.encode()
    world.settings = replace(world.settings, secret_key="another key of thirty-two characters")
    payload = await world.mutate("completeSignIn", challenge=await begin(world, ada), code=code_of(secret))
    assert [e["code"] for e in payload["errors"]] == ["UNAVAILABLE"]
    with pytest.raises(ConfigurationError, match="32 characters"):
        Settings(secret_key="short")


async def test_a_secret_of_one_person_does_not_open_for_another(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    sealed = seal(b"secret", user_id=ada.user.id, keys=["k" * 32])
    with pytest.raises(Unavailable, match="recovery code"):
        open_sealed(sealed, user_id=eve.user.id, keys=["k" * 32])


async def test_a_collective_requires_a_factor_of_its_admins(world: World) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    host = await world.host("opensource", ada)
    await world.member(host, bea, MemberRole.ADMIN)
    refused = await world.mutate("requireSecondFactor", by=ada, collective=ref(host), isRequired=True)
    assert error_codes(refused) == [("INVALID_STATE", ["input"])]
    await with_app(world, ada)
    for _ in range(2):
        payload = await world.mutate(
            "requireSecondFactor", "collective { slug }", by=ada, collective=ref(host), isRequired=True
        )
        assert payload == {"collective": {"slug": "opensource"}, "errors": []}
    query = "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }"
    change: dict[str, Any] = {"collective": ref(host), "description": "x"}
    before = await world.fingerprint()
    body = await world.execute(query, by=bea, i=change)
    assert top_error(body)["code"] == "SECOND_FACTOR_REQUIRED"
    assert await world.fingerprint() == before
    required = (await world.query(FACTORS, by=bea))["secondFactors"]["requiredBy"]
    assert len(required) == 1
    assert (await world.mutate("updateCollective", by=ada, **change))["errors"] == []
    await with_passkey(world, bea)
    assert (await world.mutate("updateCollective", by=bea, **change))["errors"] == []
    eased = await world.mutate("requireSecondFactor", by=bea, collective=ref(host), isRequired=False)
    assert eased["errors"] == []


async def test_an_event_follows_who_runs_it_and_users_require_nothing(world: World) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    host = await world.host("opensource", ada)
    await with_app(world, ada)
    made = await world.mutate(
        "createEvent",
        "event { id slug }",
        by=ada,
        parent=ref(host),
        name="Meetup",
        startsAt="2027-06-01T10:00Z",
        endsAt="2027-06-01T11:00Z",
    )
    event = made["event"]
    event_id = await world.scalar("SELECT id FROM collective WHERE slug = :s", s=event["slug"])
    await world.add(Member(collective_id=event_id, member_id=bea.user.id, role=MemberRole.ADMIN))
    for subject in ({"slug": "ada"}, {"slug": event["slug"]}):
        payload = await world.mutate("requireSecondFactor", by=ada, collective=subject, isRequired=True)
        assert error_codes(payload) == [("INVALID_INPUT", ["input", "collective"])]
    await world.mutate("requireSecondFactor", by=ada, collective=ref(host), isRequired=True)
    query = "mutation($i: UpdateEventInput!) { updateEvent(input: $i) { errors { code } } }"
    body = await world.execute(query, by=bea, i={"event": {"slug": event["slug"]}, "location": "x"})
    assert top_error(body)["code"] == "SECOND_FACTOR_REQUIRED"
    updated = await world.mutate("updateEvent", by=ada, event={"slug": event["slug"]}, location="x")
    assert updated["errors"] == []


async def test_factors_are_told_to_their_user_in_a_session_alone(world: World) -> None:
    ada = await world.person("ada")
    await with_app(world, ada)
    token = await world.access_token(ada, "READ", "COLLECTIVES")
    for viewer in (None, token):
        data = await world.query("{ secondFactors { ways } passkeys { id } }", by=viewer)
        assert data == {"secondFactors": None, "passkeys": []}
    for mutation in ("enrollTotp", "disableTotp", "renewRecoveryCodes", "beginPasskeyRegistration"):
        body = await world.execute(f"mutation {{ {mutation} {{ errors {{ code }} }} }}", by=token)
        assert top_error(body)["code"] == "FORBIDDEN"
    await age_confirmation(world, ada)
    for mutation in ("disableTotp", "renewRecoveryCodes", "beginPasskeyRegistration"):
        body = await world.execute(f"mutation {{ {mutation} {{ errors {{ code }} }} }}", by=ada)
        assert top_error(body)["code"] == "CONFIRMATION_REQUIRED"


async def test_the_database_holds_by_itself(world: World, database: Database) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await with_app(world, ada)
    host = await world.host("opensource", eve)
    made = "INSERT INTO token (id, user_id, kind, token_hash, expires_at) VALUES"
    with psycopg.connect(database.app_url, autocommit=True) as app:
        used = app.execute("SELECT code_hash FROM recovery_code LIMIT 1").fetchone()
        assert used is not None
        app.execute("UPDATE recovery_code SET used_at = now() WHERE code_hash = %s", used)
        refused: tuple[tuple[str, list[Any]], ...] = (
            (f"{made} (gen_random_uuid(), %s, 'SESSION', 'x', now() + interval '1 day')", [ada.user.id]),
            ("UPDATE totp_factor SET last_step = last_step", []),
            ("UPDATE totp_factor SET last_step = last_step + 1, secret = 'x'", []),
            ("UPDATE totp_factor SET activated_at = NULL, last_step = last_step + 1", []),
            ("UPDATE recovery_code SET used_at = NULL WHERE code_hash = %s", [used[0]]),
            (
                "INSERT INTO factor_requirement (collective_id, created_by_id) VALUES (%s, %s)",
                [host.id, eve.user.id],
            ),
        )
        for statement, values in refused:
            with pytest.raises(psycopg.errors.CheckViolation):
                app.execute(statement, values)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("UPDATE token SET factor = 'TOTP'")
        app.execute(f"{made} (gen_random_uuid(), %s, 'ACCESS', 'y', now() + interval '1 day')", [ada.user.id])
