"""Passkeys: a second factor and a sign-in, of our own pages alone, each answer once."""

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from services.core.settings import Settings
from services.identity.relying_party import RelyingParty
from tests.conftest import Database
from tests.factor_world import (
    PASSWORD,
    USER_PRESENT,
    SoftPasskey,
    run,
    top_error,
    with_passkey,
    with_password,
)
from tests.factories import World, error_codes

BEGIN = "beginPasskeySignIn"


async def sign_in(world: World, passkey: SoftPasskey, *, options: str | None = None) -> Any:
    """Sign in by the passkey; return the session's token, or the errors."""
    if options is None:
        options = (await world.mutate(BEGIN, "options"))["options"]
    payload = await world.mutate(
        "signInWithPasskey", "user { slug } session { token }", credential=passkey.sign(options)
    )
    return payload["session"]["token"] if payload["session"] else error_codes(payload)


REFUSED = [("INVALID_INPUT", ["input", "credential"])]


async def test_a_passkey_signs_in_alone_and_is_listed_renamed_and_removed(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    passkey, codes = await with_passkey(world, ada)
    assert len(codes) == 10
    token = await sign_in(world, passkey)
    listed = (await world.query("{ passkeys { id name lastUsedAt } me { slug } }", by=token))["passkeys"]
    assert [(row["name"], row["lastUsedAt"] is None) for row in listed] == [("Phone", False)]
    assert await world.scalar("SELECT factor FROM token ORDER BY id DESC LIMIT 1") == "PASSKEY"
    key = listed[0]["id"]
    for mutation, given in (("renamePasskey", {"name": "Laptop"}), ("removePasskey", {})):
        refused = await world.mutate(mutation, by=eve, id=key, **given)
        assert error_codes(refused) == [("NOT_FOUND", ["input", "id"])]
    empty = await world.mutate("renamePasskey", by=ada, id=key, name=" ")
    assert error_codes(empty) == [("INVALID_INPUT", ["input", "name"])]
    renamed = await world.mutate("renamePasskey", "passkey { name }", by=ada, id=key, name="Laptop")
    assert renamed == {"passkey": {"name": "Laptop"}, "errors": []}
    removed = await world.mutate("removePasskey", "passkey { name }", by=ada, id=key)
    assert removed == {"passkey": {"name": "Laptop"}, "errors": []}
    assert await world.scalar("SELECT count(*) FROM recovery_code") == 0
    told = await world.query("{ passkeys { id } }", by=ada)
    assert told == {"passkeys": []}
    assert await sign_in(world, passkey) == REFUSED
    templates = "SELECT string_agg(template, ' ' ORDER BY template) FROM outbox WHERE template LIKE 'factor%'"
    assert await world.scalar(templates) == "factor_added factor_removed"


async def test_a_passkey_completes_a_sign_in_by_password(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await with_password(world, ada)
    passkey, _ = await with_passkey(world, ada)
    foreign, _ = await with_passkey(world, eve)
    passkey.flags = foreign.flags = USER_PRESENT  # the password stands for the person
    payload = await world.mutate(
        "signIn", "session { token } challenge { token ways }", email=ada.email, password=PASSWORD
    )
    challenge = payload["challenge"]["token"]
    assert payload["challenge"]["ways"] == ["PASSKEY", "RECOVERY_CODE"]

    async def complete(key: SoftPasskey, options: str) -> Any:
        return await world.mutate(
            "completeSignIn", "session { token }", challenge=challenge, passkey=key.sign(options)
        )

    begun = [(await world.mutate(BEGIN, "options", challenge=challenge))["options"] for _ in range(2)]
    alone = (await world.mutate(BEGIN, "options"))["options"]
    for key, options in ((foreign, begun[0]), (passkey, begun[0]), (passkey, alone)):
        refused = await complete(key, options)  # the second: its challenge is used up
        assert error_codes(refused) == [("INVALID_INPUT", ["input", "passkey"])]
    assert (await complete(passkey, begun[1]))["session"] is not None
    over = await world.mutate(BEGIN, "options", challenge=challenge)
    assert error_codes(over) == [("NOT_FOUND", ["input", "challenge"])]


@pytest.mark.parametrize(
    "forged",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8001"},
        {"origin": "https://localhost:8000"},
        {"domain": "evil.example"},
        {"flags": USER_PRESENT},
        {"flags": 0},
        {"count": 0},
    ],
)
async def test_an_answer_of_another_page_or_without_the_person_signs_nobody_in(
    world: World, forged: dict[str, Any]
) -> None:
    ada = await world.person("ada")
    passkey, _ = await with_passkey(world, ada)
    assert isinstance(await sign_in(world, passkey), str)
    assert isinstance(await sign_in(world, passkey), str)
    tokens = await world.scalar("SELECT count(*) FROM token")
    assert await sign_in(world, replace(passkey, **forged)) == REFUSED
    assert await world.scalar("SELECT count(*) FROM token") == tokens
    other = replace(passkey, key=SoftPasskey().key, count=10)
    assert await sign_in(world, other) == REFUSED
    assert isinstance(await sign_in(world, passkey), str)


@pytest.mark.parametrize("forged", [{"origin": "https://evil.example"}, {"domain": "evil.example"}])
async def test_a_passkey_of_another_page_is_not_registered(world: World, forged: dict[str, Any]) -> None:
    ada = await world.person("ada")
    options = (await run(world, "beginPasskeyRegistration", "options", by=ada))["options"]
    credential = SoftPasskey(**forged).create(options)
    payload = await world.mutate("registerPasskey", by=ada, credential=credential, name="Phone")
    assert error_codes(payload) == REFUSED
    right = SoftPasskey().create(options)  # but its challenge is used up
    payload = await world.mutate("registerPasskey", by=ada, credential=right, name="Phone")
    assert error_codes(payload) == REFUSED
    assert await world.scalar("SELECT count(*) FROM passkey") == 0


async def test_each_challenge_is_answered_once_in_time_by_its_user_for_its_purpose(
    world: World, owner: Any
) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    passkey, _ = await with_passkey(world, ada)
    options = (await world.mutate(BEGIN, "options"))["options"]
    answer = passkey.sign(options)
    results = await asyncio.gather(
        *[world.mutate("signInWithPasskey", "session { token }", credential=answer) for _ in range(5)]
    )
    assert len([r for r in results if r["session"]]) == 1
    confirming = (await run(world, "beginPasskeyConfirmation", "options", by=ada))["options"]
    assert await sign_in(world, passkey, options=confirming) == REFUSED
    registering = (await run(world, "beginPasskeyRegistration", "options", by=eve))["options"]
    stolen = SoftPasskey().create(registering)
    payload = await world.mutate("registerPasskey", by=ada, credential=stolen, name="Mine")
    assert error_codes(payload) == REFUSED
    late = (await world.mutate(BEGIN, "options"))["options"]
    owner.execute("UPDATE challenge SET expires_at = now() - interval '1 second'")
    assert await sign_in(world, passkey, options=late) == REFUSED


async def test_a_passkey_is_registered_for_one_account(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    passkey, _ = await with_passkey(world, ada)
    options = (await run(world, "beginPasskeyRegistration", "options", by=eve))["options"]
    payload = await world.mutate("registerPasskey", by=eve, credential=passkey.create(options), name="Phone")
    assert [e["code"] for e in payload["errors"]] == ["CONFLICT"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "null",
        "[]",
        "{}",
        '{"rawId": 1, "response": {"clientDataJSON": "e30"}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "bnVsbA"}}',
        '{"rawId": "AA", "response": {"clientDataJSON": "\\u00e9"}}',
        '{"rawId": "\\ud800", "response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiAiQUEifQ"}}',
        "[" * 5000,
        '{"id": "' + "x" * 30_000 + '"}',
    ],
)
async def test_what_no_browser_answers_is_refused(world: World, text: str) -> None:
    payload = await world.mutate("signInWithPasskey", credential=text)
    assert error_codes(payload) == REFUSED


async def test_a_suspended_person_has_no_way_in(world: World) -> None:
    ada = await world.person("ada")
    passkey, _ = await with_passkey(world, ada)
    await world.mutate("suspendUser", by=world.admin, user={"slug": "ada"}, reason="Fraud")
    assert [code for code, _ in await sign_in(world, passkey)] == ["INVALID_STATE"]


async def test_the_database_lets_no_counter_go_back(world: World, database: Database) -> None:
    ada = await world.person("ada")
    passkey, _ = await with_passkey(world, ada)
    await sign_in(world, passkey)
    with psycopg.connect(database.app_url, autocommit=True) as app:
        with pytest.raises(psycopg.errors.CheckViolation, match="copied"):
            app.execute("UPDATE passkey SET sign_count = sign_count")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("UPDATE passkey SET public_key = 'x'")


async def test_no_options_without_sign_in_or_beyond_the_limit(world: World) -> None:
    world.settings = replace(world.settings, sign_in_failures_per_address=3)
    results = [error_codes(await world.mutate(BEGIN, "options")) for _ in range(4)]
    assert results == [[], [], [], [("RATE_LIMITED", ["input", "challenge"])]]
    body = await world.execute("mutation { beginPasskeyRegistration { options } }")
    assert top_error(body)["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("given", "domain", "origins"),
    [
        ({}, "localhost", ["http://localhost:8000"]),
        ({"public_url": "https://api.example.org/"}, "api.example.org", ["https://api.example.org"]),
        ({"public_url": "https://example.org:443"}, "example.org", ["https://example.org"]),
        (
            {
                "public_url": "https://api.example.org",
                "passkey_domain": "example.org",
                "allowed_origins": "https://app.example.org, https://notexample.org, https://example.com",
            },
            "example.org",
            ["https://api.example.org", "https://app.example.org"],
        ),
    ],
)
def test_passkeys_are_of_our_domain_and_its_pages(
    given: dict[str, Any], domain: str, origins: list[str]
) -> None:
    assert RelyingParty.of(Settings(**given)) == RelyingParty(domain, tuple(origins))
