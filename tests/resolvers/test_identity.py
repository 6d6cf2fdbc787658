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
from services.access.actor import token_hash
from services.identity.authentication import MAX_PASSWORD
from tests.conftest import Database
from tests.factories import Person, World, of

PASSWORD = "correct horse"
ADA = {"email": "ada@example.org", "name": "Ada", "password": PASSWORD}
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


async def joined(world: World, **given: str) -> tuple[str, str]:
    """Sign up and prove the address; return the user's id and session token."""
    await world.do("signUp", "user { id }", **(ADA | given))
    token = (await mailed(world))[-1]["token"]
    done = await world.do("verifyEmail", SESSION, token=token)
    assert done["errors"] == []
    return done["user"]["id"], done["session"]["token"]


async def slug_of(world: World, token: str) -> str | None:
    """Return who a token belongs to."""
    body = await world.execute("{ me { slug } }", by=token)
    return body["data"]["me"]["slug"] if "data" in body else None


async def sign_in(world: World, *, password: str = PASSWORD, email: str = "ada@example.org") -> Any:
    done = await world.do("signIn", SESSION, email=email, password=password)
    return done["errors"][0]["code"] if done["errors"] else done["session"]["token"]


async def test_sign_up_then_verify_then_sign_in_then_sign_out(world: World) -> None:
    made = await world.do("signUp", USER, **ADA, currency="EUR")
    assert made["errors"] == []
    assert made["user"]["name"] == "Ada"
    assert (made["user"]["currency"], made["user"]["isClaimed"]) == ("EUR", False)
    assert made["user"]["email"] is None
    assert await sign_in(world) == "INVALID_INPUT"
    (mail,) = await mailed(world)
    assert mail["to"] == "ada@example.org"

    proved = await world.do("verifyEmail", SESSION, token=mail["token"])
    assert proved["errors"] == []
    assert proved["user"]["isClaimed"]
    assert await mailed(world, "email_confirmed") == [{"to": "ada@example.org", "name": "Ada"}]
    first, second = proved["session"]["token"], await sign_in(world, email=" Ada@Example.ORG ")
    assert first != second
    for token in (first, second):
        me = await world.ask("{ me { id email host { slug } } }", by=token)
        assert me["me"] == {
            "id": proved["user"]["id"],
            "email": "ada@example.org",
            "host": {"slug": "commonweal"},
        }

    done = await world.ask("mutation { signOut { user { id } errors { code } } }", by=first)
    assert done["signOut"] == {"user": {"id": proved["user"]["id"]}, "errors": []}
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
        ({"password": "short"}, "password"),
        ({"password": "x" * (MAX_PASSWORD + 1)}, "password"),
        ({"currency": "XYZ"}, "currency"),
        ({"currency": "CUR"}, "currency"),
    ],
)
async def test_a_sign_up_that_cannot_be_stores_nothing(
    world: World, given: dict[str, str], path: str
) -> None:
    before = await world.fingerprint()
    done = await world.do("signUp", "user { id }", **(ADA | given))
    assert done["user"] is None
    assert [(e["code"], e["path"]) for e in done["errors"]] == [("INVALID_INPUT", ["input", path])]
    assert await world.fingerprint() == before


async def test_a_password_of_somebody_else_does_not_survive_the_proof(world: World) -> None:
    await world.do("signUp", "user { id }", **ADA)
    (mail,) = await mailed(world)
    await world.do("signUp", "user { id }", **(ADA | {"password": "the intruder's"}))
    await world.do("verifyEmail", SESSION, token=mail["token"])
    assert await sign_in(world, password="the intruder's") == "INVALID_INPUT"
    assert await sign_in(world) != "INVALID_INPUT"


async def test_a_mailed_token_serves_once(world: World) -> None:
    _, session = await joined(world)
    (mail,) = await mailed(world)
    before = await world.fingerprint()
    for token in (mail["token"], "unknown", "", "\x07", session):
        done = await world.do("verifyEmail", SESSION, token=token)
        assert (done["user"], done["session"]) == (None, None)
        assert [e["code"] for e in done["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before


async def test_a_mailed_token_expires(world: World, database: Database) -> None:
    await world.do("signUp", "user { id }", **ADA)
    (mail,) = await mailed(world)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        (left,) = owner.execute("SELECT expires_at - now() FROM email_token").fetchone() or ()
        assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
        owner.execute("UPDATE email_token SET expires_at = now() - interval '1 second'")
    done = await world.do("verifyEmail", SESSION, token=mail["token"])
    assert [e["code"] for e in done["errors"]] == ["NOT_FOUND"]
    assert await sign_in(world) == "INVALID_INPUT"


async def test_signing_up_claims_a_row_known_by_email_alone_with_its_memberships(world: World) -> None:
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    made = await world.do(
        "inviteMember",
        "invitation { id user { id isClaimed } }",
        by=admin,
        collective=of(club),
        role="ACCOUNTANT",
        email="Ada@Example.org",
    )
    invitee = await world.scalar("SELECT user_id FROM credential WHERE email = 'ada@example.org'")
    await world.add(Member(collective_id=club.id, member_id=invitee, role=MemberRole.ATTENDEE))
    user_id, token = await joined(world)
    if made["invitation"]["user"] is not None:
        assert made["invitation"]["user"]["id"] == user_id
    me = await world.ask(
        "{ me { id isClaimed memberOf { nodes { role collective { slug } } } } myInvitations { id role } }",
        by=token,
    )
    assert me["me"] == {
        "id": user_id,
        "isClaimed": True,
        "memberOf": {"nodes": [{"role": "ATTENDEE", "collective": {"slug": "club"}}]},
    }
    assert me["myInvitations"] == [{"id": made["invitation"]["id"], "role": "ACCOUNTANT"}]
    assert await world.scalar("SELECT count(*) FROM credential WHERE email = 'ada@example.org'") == 1


async def test_who_claims_a_row_chooses_the_name(world: World) -> None:
    admin = await world.person("admin")
    club = await world.community("club", None, admin)
    await world.do("inviteMember", by=admin, collective=of(club), role="MEMBER", email="ada@example.org")
    _, token = await joined(world)
    assert (await world.ask("{ me { name } }", by=token))["me"] == {"name": "Ada"}


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
async def test_a_failed_sign_in_tells_nothing(world: World, email: str, password: str) -> None:
    await joined(world)
    await world.person("ghost", claimed=False)
    before = await world.fingerprint()
    done = await world.do("signIn", SESSION + " errors { message }", email=email, password=password)
    assert (done["user"], done["session"]) == (None, None)
    assert done["errors"] == [
        {
            "code": "INVALID_INPUT",
            "path": ["input", "password"],
            "message": "The address or the password is wrong",
        }
    ]
    assert await world.fingerprint() == before


async def set_attempts(world: World, attempts: int, key: str = "sign-in:account:ada@example.org") -> None:
    async with world.sessions() as session, session.begin():
        statement = text("UPDATE throttle SET attempts = :attempts WHERE key = :key")
        await session.execute(statement, {"attempts": attempts, "key": key})


async def test_ten_tries_of_an_account_then_even_the_right_password_waits(
    world: World, database: Database
) -> None:
    await joined(world)
    kept = "SELECT attempts FROM throttle WHERE key = 'sign-in:account:ada@example.org'"
    for tried in (1, attempt_limits.PER_ACCOUNT):
        assert await sign_in(world, password="wrong", email="ADA@example.org") == "INVALID_INPUT"
        assert await world.scalar(kept) == tried
        await set_attempts(world, attempt_limits.PER_ACCOUNT - 1 if tried == 1 else tried)
    before = await world.fingerprint()
    assert await sign_in(world) == "RATE_LIMITED"
    assert await world.fingerprint() == before
    assert await sign_in(world, email="other@example.org") == "INVALID_INPUT"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("UPDATE throttle SET window_ends_at = now() - interval '1 second'")
    assert await sign_in(world) != "RATE_LIMITED"
    assert await world.scalar(kept) == 1


async def test_tries_are_counted_by_network_address(world: World) -> None:
    async def one(address: str, email: str) -> str:
        field = f'signIn(input: {{ email: "{email}", password: "x" }}) {{ errors {{ code }} }}'
        request = unit_of_work.Request(query=f"mutation {{ {field} }}", address=address)
        body = (await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)).body
        return str(body["data"]["signIn"]["errors"][0]["code"])

    async def tried(address: str) -> list[str]:
        return [await one(address, f"u{i}@example.org") for i in range(3)]

    assert await tried("192.0.2.1") == ["INVALID_INPUT"] * 3
    await set_attempts(world, attempt_limits.PER_ADDRESS - 2, key="sign-in:address:192.0.2.1")
    assert await tried("192.0.2.1") == ["INVALID_INPUT"] * 2 + ["RATE_LIMITED"]
    assert await tried("192.0.2.2") == ["INVALID_INPUT"] * 3


async def everything_stored(database: Database) -> str:
    """Return the text of every row of every table but the mails, which carry their token until sent."""
    with psycopg.connect(database.owner_url) as owner:
        tables = owner.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'outbox'"
        ).fetchall()
        rows = [owner.execute(f'SELECT t::text FROM "{table}" t').fetchall() for (table,) in tables]
    return "\n".join(row for found in rows for (row,) in found)


async def test_no_password_and_no_token_is_stored(world: World, database: Database) -> None:
    _, session = await joined(world)
    (mail,) = await mailed(world)
    made = await access_token(world, session)
    stored = await everything_stored(database)
    for secret in (PASSWORD, mail["token"], session, made["token"]):
        assert secret not in stored
        assert secret.encode().hex() not in stored
        assert secret.partition("_")[2] not in stored or "_" not in secret
    for token in (session, made["token"], mail["token"]):
        assert token_hash(token).hex() in stored
    assert (
        await world.scalar("SELECT password_hash FROM credential WHERE email = 'ada@example.org'")
    ).startswith("$argon2id$v=19$m=65536,")


async def access_token(world: World, by: Person | str, **given: Any) -> dict[str, Any]:
    asked = {"name": "ci", "scopes": ["READ"], "expiresAt": (now() + timedelta(days=2)).isoformat()}
    return await world.do(
        "createAccessToken",
        "token accessToken { id name scopes expiresAt revokedAt }",
        by=by,
        **(asked | given),
    )


async def test_an_access_token_is_made_listed_used_and_revoked(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    made = await access_token(world, ada, scopes=["READ", "ORDERS", "READ"])
    assert made["errors"] == []
    kept = made["accessToken"]
    assert (kept["name"], kept["scopes"], kept["revokedAt"]) == ("ci", ["ORDERS", "READ"], None)
    assert await slug_of(world, made["token"]) == "ada"
    listed = "{ myAccessTokens { id } }"
    assert (await world.ask(listed, by=ada))["myAccessTokens"] == [{"id": kept["id"]}]
    assert (await world.ask(listed, by=eve))["myAccessTokens"] == []
    before = await world.fingerprint()
    refused = await world.do("revokeAccessToken", by=eve, id=kept["id"])
    assert [e["code"] for e in refused["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before
    for _ in range(2):
        done = await world.do("revokeAccessToken", "accessToken { revokedAt }", by=ada, id=kept["id"])
        assert done["errors"] == []
        assert done["accessToken"]["revokedAt"] is not None
    assert await slug_of(world, made["token"]) is None
    assert (await world.ask(listed, by=ada))["myAccessTokens"] == []


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"expiresAt": "2020-01-01T00:00Z"}, "expiresAt"),
        ({"expiresAt": (now() + timedelta(days=367)).isoformat()}, "expiresAt"),
    ],
)
async def test_an_access_token_that_cannot_be_stores_nothing(
    world: World, given: dict[str, Any], path: str
) -> None:
    ada = await world.person("ada")
    before = await world.fingerprint()
    made = await access_token(world, ada, **given)
    assert (made["token"], made["accessToken"]) == (None, None)
    assert [(e["code"], e["path"]) for e in made["errors"]] == [("INVALID_INPUT", ["input", path])]
    assert await world.fingerprint() == before


async def test_an_access_token_makes_none_that_may_do_or_last_more(world: World) -> None:
    ada = await world.person("ada")
    own = (await access_token(world, ada, scopes=["COLLECTIVES"]))["token"]
    for scope in set(Scope) - {Scope.COLLECTIVES}:
        made = await access_token(world, own, scopes=["COLLECTIVES", scope])
        assert [e["path"] for e in made["errors"]] == [["input", "scopes"]]
    later = (now() + timedelta(days=300)).isoformat()
    made = await access_token(world, own, scopes=["COLLECTIVES"], expiresAt=later)
    assert [e["path"] for e in made["errors"]] == [["input", "expiresAt"]]


@pytest.mark.parametrize(
    "ended", ["expires_at = now() - interval '1 second'", "revoked_at = now()", "token_hash = 'x'"]
)
@pytest.mark.parametrize("kind", ["SESSION", "ACCESS"])
async def test_a_token_that_does_not_hold_is_nobodys(
    world: World, database: Database, ended: str, kind: str
) -> None:
    ada = await world.person("ada")
    token = ada.token if kind == "SESSION" else await world.access_token(ada, *Scope)
    assert await slug_of(world, token) == "ada"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        changed = owner.execute(f"UPDATE token SET {ended} WHERE token_hash = %s", [token_hash(token)])
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


async def test_without_sign_in_there_is_nobody_and_nothing_of_ones_own(world: World) -> None:
    assert await world.ask("{ me { id } myAccessTokens { id } myInvitations { id } }") == {
        "me": None,
        "myAccessTokens": [],
        "myInvitations": [],
    }
