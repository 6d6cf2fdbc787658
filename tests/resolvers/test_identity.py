"""Signing up, proving an address, signing in and out, and tokens for programs."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models import Member, now
from models.enums import MemberRole, Scope
from schema.execution import unit_of_work
from services.access import attempt_limits
from services.access.actor import hash_token
from services.identity.passwords import MAX_PASSWORD_LENGTH
from tests.conftest import Database
from tests.factories import Person, World, ref

PASSWORD = "correct horse"
ADA = {"email": "ada@example.org", "name": "Ada"}
USER = "user { id slug name currency type isClaimed host { slug } email members { totalCount } }"
SESSION = "user { id slug isClaimed } session { token expiresAt }"


async def mailed(world: World, template: str = "verify_email") -> list[dict[str, Any]]:
    """Return the mails that wait, oldest first."""
    async with world.sessions() as session:
        rows = await session.execute(
            text("SELECT recipient, payload FROM outbox WHERE template = :template ORDER BY created_at, id"),
            {"template": template},
        )
        return [{"to": row.recipient, **row.payload} for row in rows]


async def joined(world: World, **arguments: str) -> tuple[str, str]:
    """Sign up and prove the address; return the user's id and session token."""
    await world.mutate("signUp", "user { id }", **(ADA | arguments))
    token = (await mailed(world))[-1]["token"]
    payload = await world.mutate("verifyEmail", SESSION, token=token, password=PASSWORD)
    assert payload["errors"] == []
    return payload["user"]["id"], payload["session"]["token"]


async def slug_of(world: World, token: str) -> str | None:
    """Return who a token belongs to."""
    body = await world.execute("{ me { slug } }", by=token)
    return body["data"]["me"]["slug"] if "data" in body else None


async def sign_in(world: World, *, password: str = PASSWORD, email: str = "ada@example.org") -> Any:
    payload = await world.mutate("signIn", SESSION, email=email, password=password)
    return payload["errors"][0]["code"] if payload["errors"] else payload["session"]["token"]


async def test_sign_up_then_verify_then_sign_in_then_sign_out(world: World) -> None:
    payload = await world.mutate("signUp", USER, **ADA, currency="EUR")
    assert payload["errors"] == []
    assert payload["user"]["name"] == "Ada"
    assert (payload["user"]["currency"], payload["user"]["isClaimed"]) == ("EUR", False)
    assert payload["user"]["email"] is None
    assert await sign_in(world) == "INVALID_INPUT"
    (mail,) = await mailed(world)
    assert mail["to"] == "ada@example.org"

    proved = await world.mutate("verifyEmail", SESSION, token=mail["token"], password=PASSWORD)
    assert proved["errors"] == []
    assert proved["user"]["isClaimed"]
    assert await mailed(world, "email_confirmed") == [{"to": "ada@example.org", "name": "Ada"}]
    first, second = proved["session"]["token"], await sign_in(world, email=" Ada@Example.ORG ")
    assert first != second
    for token in (first, second):
        me = await world.query("{ me { id email host { slug } } }", by=token)
        assert me["me"] == {
            "id": proved["user"]["id"],
            "email": "ada@example.org",
            "host": {"slug": "commonweal"},
        }

    data = await world.query("mutation { signOut { user { id } errors { code } } }", by=first)
    assert data["signOut"] == {"user": {"id": proved["user"]["id"]}, "errors": []}
    assert await slug_of(world, first) is None
    assert await slug_of(world, second) == proved["user"]["slug"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "ada@localhost"}, "email"),
        ({"email": "a da@example.org"}, "email"),
        ({"email": "a" * 250 + "@example.org"}, "email"),
        ({"email": "ada\x07@example.org"}, "email"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": "\u202e \u3164"}, "name"),
        ({"email": "bob@example..org"}, "email"),
        ({"email": "bob@@example.org"}, "email"),
        ({"email": ".bob@example.org"}, "email"),
        ({"email": "a@x.org,b@y.org"}, "email"),
        ({"email": "<a@x.org> <b@y.org>"}, "email"),
        ({"email": "bob@192.0.2.1"}, "email"),
        ({"email": "bob@-example.org"}, "email"),
        ({"currency": "XYZ"}, "currency"),
        ({"currency": "CUR"}, "currency"),
    ],
)
async def test_an_invalid_sign_up_stores_nothing(world: World, given: dict[str, str], path: str) -> None:
    before = await world.fingerprint()
    payload = await world.mutate("signUp", "user { id }", **(ADA | given))
    assert payload["user"] is None
    assert [(e["code"], e["path"]) for e in payload["errors"]] == [("INVALID_INPUT", ["input", path])]
    assert await world.fingerprint() == before


async def test_the_password_is_chosen_after_the_click_and_proving_ends_all_other_links(world: World) -> None:
    for name in ("Ada", "An intruder"):
        await world.mutate("signUp", "user { id }", **(ADA | {"name": name}))
    first, second = await mailed(world)
    for weak in ("short", "password", "Password!", "12345678", "x" * (MAX_PASSWORD_LENGTH + 1)):
        before = await world.fingerprint()
        refused = await world.mutate("verifyEmail", SESSION, token=first["token"], password=weak)
        assert [(e["code"], e["path"]) for e in refused["errors"]] == [
            ("INVALID_INPUT", ["input", "password"])
        ]
        assert await world.fingerprint() == before
    await world.mutate("verifyEmail", SESSION, token=first["token"], password=PASSWORD)
    late = await world.mutate("verifyEmail", SESSION, token=second["token"], password="the intruder's")
    assert [e["code"] for e in late["errors"]] == ["NOT_FOUND"]
    assert await sign_in(world, password="the intruder's") == "INVALID_INPUT"
    assert await sign_in(world) != "INVALID_INPUT"


async def test_a_proved_address_takes_no_link(world: World, database: Database) -> None:
    await joined(world)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE email_token SET used_at = NULL")
    (mail,) = await mailed(world)
    late = await world.mutate("verifyEmail", SESSION, token=mail["token"], password="the intruder's")
    assert [e["code"] for e in late["errors"]] == ["NOT_FOUND"]
    assert await sign_in(world) != "INVALID_INPUT"


async def test_a_mailed_token_works_once(world: World) -> None:
    _, session = await joined(world)
    (mail,) = await mailed(world)
    before = await world.fingerprint()
    for token in (mail["token"], "unknown", "", "\x07", session):
        payload = await world.mutate("verifyEmail", SESSION, token=token, password=PASSWORD)
        assert (payload["user"], payload["session"]) == (None, None)
        assert [e["code"] for e in payload["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before


async def test_a_mailed_token_expires(world: World, database: Database) -> None:
    await world.mutate("signUp", "user { id }", **ADA)
    (mail,) = await mailed(world)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        (left,) = owner.execute("SELECT expires_at - now() FROM email_token").fetchone() or ()
        assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
        owner.execute("UPDATE email_token SET expires_at = now() - interval '1 second'")
    payload = await world.mutate("verifyEmail", SESSION, token=mail["token"], password=PASSWORD)
    assert [e["code"] for e in payload["errors"]] == ["NOT_FOUND"]
    assert await sign_in(world) == "INVALID_INPUT"


async def test_signing_up_claims_an_unclaimed_user_with_its_memberships(world: World) -> None:
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    payload = await world.mutate(
        "inviteMember",
        "invitation { id user { id isClaimed } }",
        by=admin,
        collective=ref(club),
        role="ACCOUNTANT",
        email="Ada@Example.org",
    )
    invitee = await world.scalar("SELECT user_id FROM credential WHERE email = 'ada@example.org'")
    await world.add(Member(collective_id=club.id, member_id=invitee, role=MemberRole.ATTENDEE))
    user_id, token = await joined(world)
    if payload["invitation"]["user"] is not None:
        assert payload["invitation"]["user"]["id"] == user_id
    me = await world.query(
        "{ me { id isClaimed memberOf { nodes { role collective { slug } } } } myInvitations { id role } }",
        by=token,
    )
    assert me["me"] == {
        "id": user_id,
        "isClaimed": True,
        "memberOf": {"nodes": [{"role": "ATTENDEE", "collective": {"slug": "club"}}]},
    }
    assert me["myInvitations"] == [{"id": payload["invitation"]["id"], "role": "ACCOUNTANT"}]
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'ada@example.org'") == 1


async def test_claiming_a_user_sets_the_chosen_name(world: World) -> None:
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    await world.mutate("inviteMember", by=admin, collective=ref(club), role="MEMBER", email="ada@example.org")
    _, token = await joined(world)
    assert (await world.query("{ me { name } }", by=token))["me"] == {"name": "Ada"}


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.org", "wrong"),
        ("ada@example.org", "\x07"),
        ("nobody@example.org", PASSWORD),
        ("\x07", PASSWORD),
        ("ghost@commonweal.test", PASSWORD),
        ("ghost@commonweal.test", ""),
    ],
)
async def test_a_failed_sign_in_reveals_nothing(world: World, email: str, password: str) -> None:
    await joined(world)
    await world.person("ghost", claimed=False)
    before = await world.fingerprint()
    payload = await world.mutate("signIn", SESSION + " errors { message }", email=email, password=password)
    assert (payload["user"], payload["session"]) == (None, None)
    assert payload["errors"] == [
        {
            "code": "INVALID_INPUT",
            "path": ["input", "password"],
            "message": "The email address or password is wrong.",
        }
    ]
    assert await world.fingerprint() == before


PAIR, ACCOUNT = "sign-in:ada@example.org:192.0.2.1", "sign-in:account:ada@example.org"
NETWORK = "sign-in:address:192.0.2.1"


async def set_attempts(world: World, attempts: int, key: str) -> None:
    async with world.sessions() as session, session.begin():
        statement = text("UPDATE throttle SET attempts = :attempts WHERE key = :key")
        await session.execute(statement, {"attempts": attempts, "key": key})


async def attempts(world: World, key: str) -> int:
    value: int = await world.scalar("SELECT coalesce(max(attempts), 0) FROM throttle WHERE key = :k", k=key)
    return value


async def sign_in_from(
    world: World, address: str, *, password: str = PASSWORD, email: str = "ada@example.org", device: str = "A"
) -> str:
    request = unit_of_work.OperationRequest(
        query="mutation($i: SignInInput!) { signIn(input: $i) { session { token } errors { code } } }",
        variables={"i": {"email": email, "password": password}},
        address=address,
        device=device,
    )
    body = (
        await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
    ).plain_body()
    errors = body["data"]["signIn"]["errors"]
    return str(errors[0]["code"]) if errors else "OK"


async def test_only_failures_count_and_a_success_forgets_them(world: World) -> None:
    await joined(world)
    for _ in range(2):
        assert await sign_in_from(world, "192.0.2.1", password="wrong", email="ADA@example.org") == (
            "INVALID_INPUT"
        )
    assert [await attempts(world, key) for key in (PAIR, ACCOUNT, NETWORK)] == [2, 2, 2]
    assert await sign_in_from(world, "192.0.2.1") == "OK"
    assert [await attempts(world, key) for key in (PAIR, ACCOUNT, NETWORK)] == [0, 2, 2]
    for _ in range(3):
        assert await sign_in_from(world, "192.0.2.1") == "OK"
    assert [await attempts(world, key) for key in (PAIR, ACCOUNT, NETWORK)] == [0, 2, 2]


async def test_after_ten_failures_from_an_address_even_the_right_password_is_refused(
    world: World, database: Database
) -> None:
    await joined(world)
    assert await sign_in_from(world, "192.0.2.1", password="wrong") == "INVALID_INPUT"
    await set_attempts(world, attempt_limits.SIGN_INS_PER_PAIR, PAIR)
    before = await world.fingerprint()
    assert await sign_in_from(world, "192.0.2.1") == "RATE_LIMITED"
    assert await world.fingerprint() == before
    assert await sign_in_from(world, "192.0.2.2") == "OK"
    assert await sign_in_from(world, "192.0.2.1", email="other@example.org") == "INVALID_INPUT"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE throttle SET window_ends_at = now() - interval '1 second'")
    assert await sign_in_from(world, "192.0.2.1") == "OK"


async def test_strangers_lock_nobody_out_where_they_have_signed_in_before(world: World) -> None:
    await joined(world)
    assert await sign_in_from(world, "192.0.2.9") == "OK"
    assert await sign_in_from(world, "192.0.2.1", password="wrong") == "INVALID_INPUT"
    await set_attempts(world, attempt_limits.SIGN_INS_PER_ACCOUNT, ACCOUNT)
    assert await sign_in_from(world, "192.0.2.2") == "RATE_LIMITED"
    assert await sign_in_from(world, "192.0.2.9") == "OK"


async def test_failures_are_counted_by_network_address(world: World) -> None:
    assert await sign_in_from(world, "192.0.2.1", email="u@example.org") == "INVALID_INPUT"
    await set_attempts(world, world.settings.sign_in_failures_per_address - 1, NETWORK)
    tried = [await sign_in_from(world, "192.0.2.1", email=f"u{i}@example.org") for i in range(2)]
    assert tried == ["INVALID_INPUT", "RATE_LIMITED"]
    assert await sign_in_from(world, "192.0.2.2", email="u@example.org") == "INVALID_INPUT"


async def test_a_new_device_is_told_by_mail(world: World) -> None:
    await joined(world)
    for address, device in (
        ("192.0.2.1", "A"),
        ("192.0.2.1", "A"),
        ("192.0.2.1", "B\r\nC"),
        ("192.0.2.2", "A"),
    ):
        assert await sign_in_from(world, address, device=device) == "OK"
    told = [(mail["device"], mail["network"]) for mail in await mailed(world, "new_device")]
    assert told == [("A", "192.0.2.1"), ("B C", "192.0.2.1"), ("A", "192.0.2.2")]


async def everything_stored(database: Database) -> str:
    """Return the text of every row of every table but the mails, which carry their token until sent."""
    with psycopg.connect(database.owner_url) as owner:
        tables = owner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'outbox'"
        ).fetchall()
        rows = [owner.execute(f'SELECT t::text FROM "{table}" t').fetchall() for (table,) in tables]
    return "\n".join(row for result in rows for (row,) in result)


async def test_passwords_and_tokens_are_stored_only_as_hashes(world: World, database: Database) -> None:
    _, session = await joined(world)
    (mail,) = await mailed(world)
    created = await access_token(world, session)
    stored = await everything_stored(database)
    for secret in (PASSWORD, mail["token"], session, created["token"]):
        assert secret not in stored
        assert secret.encode().hex() not in stored
        assert secret.partition("_")[2] not in stored or "_" not in secret
    for token in (session, created["token"], mail["token"]):
        assert hash_token(token).hex() in stored
    assert (
        await world.scalar("SELECT password_hash FROM credential WHERE email = 'ada@example.org'")
    ).startswith("$argon2id$v=19$m=65536,")


async def access_token(world: World, by: Person | str, **arguments: Any) -> dict[str, Any]:
    results = {"name": "ci", "scopes": ["READ"], "expiresAt": (now() + timedelta(days=2)).isoformat()}
    return await world.mutate(
        "createAccessToken",
        "token accessToken { id name scopes expiresAt revokedAt }",
        by=by,
        **(results | arguments),
    )


async def test_an_access_token_is_created_listed_used_and_revoked(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    created = await access_token(world, ada, scopes=["READ", "ORDERS", "READ"])
    assert created["errors"] == []
    kept = created["accessToken"]
    assert (kept["name"], kept["scopes"], kept["revokedAt"]) == ("ci", ["ORDERS", "READ"], None)
    assert await slug_of(world, created["token"]) == "ada"
    listed = "{ myAccessTokens { id } }"
    assert (await world.query(listed, by=ada))["myAccessTokens"] == [{"id": kept["id"]}]
    assert (await world.query(listed, by=eve))["myAccessTokens"] == []
    before = await world.fingerprint()
    refused = await world.mutate("revokeAccessToken", by=eve, id=kept["id"])
    assert [e["code"] for e in refused["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before
    for _ in range(2):
        payload = await world.mutate("revokeAccessToken", "accessToken { revokedAt }", by=ada, id=kept["id"])
        assert payload["errors"] == []
        assert payload["accessToken"]["revokedAt"] is not None
    assert await slug_of(world, created["token"]) is None
    assert (await world.query(listed, by=ada))["myAccessTokens"] == []


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"expiresAt": "2020-01-01T00:00Z"}, "expiresAt"),
        ({"expiresAt": (now() + timedelta(days=367)).isoformat()}, "expiresAt"),
    ],
)
async def test_an_invalid_access_token_stores_nothing(world: World, given: dict[str, Any], path: str) -> None:
    ada = await world.person("ada")
    before = await world.fingerprint()
    created = await access_token(world, ada, **given)
    assert (created["token"], created["accessToken"]) == (None, None)
    assert [(e["code"], e["path"]) for e in created["errors"]] == [("INVALID_INPUT", ["input", path])]
    assert await world.fingerprint() == before


async def test_an_access_token_cannot_create_a_stronger_or_longer_one(world: World) -> None:
    ada = await world.person("ada")
    own = (await access_token(world, ada, scopes=["COLLECTIVES", "READ"]))["token"]
    for scope in set(Scope) - {Scope.COLLECTIVES, Scope.READ}:
        created = await access_token(world, own, scopes=["COLLECTIVES", scope])
        assert [e["path"] for e in created["errors"]] == [["input", "scopes"]]
    later = (now() + timedelta(days=300)).isoformat()
    created = await access_token(world, own, scopes=["COLLECTIVES"], expiresAt=later)
    assert [e["path"] for e in created["errors"]] == [["input", "expiresAt"]]


@pytest.mark.parametrize(
    "ended", ["expires_at = now() - interval '1 second'", "revoked_at = now()", "token_hash = 'x'"]
)
@pytest.mark.parametrize("kind", ["SESSION", "ACCESS"])
async def test_an_invalid_token_is_unauthenticated(
    world: World, database: Database, ended: str, kind: str
) -> None:
    ada = await world.person("ada")
    token = ada.token if kind == "SESSION" else await world.access_token(ada, *Scope)
    assert await slug_of(world, token) == "ada"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        changed = owner.execute(f"UPDATE token SET {ended} WHERE token_hash = %s", [hash_token(token)])
        assert changed.rowcount == 1
    before = await world.fingerprint()
    for query in (
        "{ me { slug } }",
        "{ currencies { code } }",
        "mutation { signOut { errors { code } } }",
        'mutation { followCollective(input: { collective: { slug: "commonweal" } }) { errors { code } } }',
    ):
        body = await world.execute(query, by=token)
        assert body.get("data") is None
        assert [error["extensions"]["code"] for error in body["errors"]] == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


async def test_without_sign_in_me_is_null(world: World) -> None:
    assert await world.query("{ me { id } myAccessTokens { id } myInvitations { id } }") == {
        "me": None,
        "myAccessTokens": [],
        "myInvitations": [],
    }
