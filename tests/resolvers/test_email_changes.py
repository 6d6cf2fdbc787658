"""Changing the email address: the new one proves itself, and the old one can take it back for 7 days."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from models import EmailToken, Identity, TotpFactor, now
from models.enums import EmailTokenPurpose
from services.access.actor import hash_token
from tests.conftest import Database
from tests.factories import Person, World, error_codes, ref
from tests.resolvers.test_accounts import NEW, OLD, is_signed_in, signed_in, with_password

FRESH = "ada@new.example"
GONE = [("NOT_FOUND", ["input", "token"])]


async def mails(world: World, template: str) -> list[dict[str, Any]]:
    async with world.sessions() as session:
        rows = await session.execute(
            text("SELECT recipient, payload FROM outbox WHERE template = :t ORDER BY created_at, id"),
            {"t": template},
        )
        return [{"to": row.recipient, **row.payload} for row in rows]


async def ask(world: World, by: Person | str, email: str = FRESH) -> list[Any]:
    return error_codes(await world.mutate("changeEmail", "user { id }", by=by, email=email))


async def confirm(world: World, token: str, by: str | None = None) -> list[Any]:
    return error_codes(await world.mutate("confirmEmailChange", "user { id }", by=by, token=token))


async def undo(world: World, token: str) -> list[Any]:
    return error_codes(await world.mutate("undoEmailChange", "user { id }", token=token))


async def changed(world: World, person: Person, email: str = FRESH) -> str:
    """Change a person's address; return the token that undoes it."""
    assert await ask(world, person, email) == []
    assert await confirm(world, (await mails(world, "email_change_confirm"))[-1]["token"]) == []
    return str((await mails(world, "email_changed"))[-1]["token"])


async def email_of(world: World, person: Person) -> str:
    value: str = await world.scalar("SELECT email FROM credential WHERE user_id = :u", u=person.user.id)
    return value


def backdate(database: Database, change: str) -> None:
    """Change rows that the guard keeps as they are, as if time had passed."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE email_change DISABLE TRIGGER email_change_guard")
        owner.execute(f"UPDATE email_change SET {change}")
        owner.execute("ALTER TABLE email_change ENABLE ALWAYS TRIGGER email_change_guard")


async def test_the_new_address_proves_itself_and_both_are_told(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    other, program = await signed_in(world, ada), await world.access_token(ada, "READ")
    assert await ask(world, ada, " Ada <ADA@New.example> ") == []
    assert await email_of(world, ada) == ada.email
    me = "{ me { email pendingEmail } }"
    assert (await world.query(me, by=ada))["me"] == {"email": ada.email, "pendingEmail": FRESH}
    (asked,) = await mails(world, "email_change_requested")
    assert (asked["to"], asked["email"]) == (ada.email, FRESH)
    (link,) = await mails(world, "email_change_confirm")
    assert link["to"] == FRESH

    reset = EmailToken(
        token_hash=hash_token("x"), user_id=ada.user.id, purpose=EmailTokenPurpose.RESET, expires_at=now()
    )
    await world.add(reset)
    assert await confirm(world, link["token"]) == []
    assert await email_of(world, ada) == FRESH
    assert [await is_signed_in(world, t) for t in (ada.token, other, program)] == [True, False, False]
    assert await world.scalar("SELECT count(*) FROM email_token WHERE used_at IS NULL") == 0
    assert (await world.query(me, by=ada))["me"] == {"email": FRESH, "pendingEmail": None}
    assert [m["to"] for m in await mails(world, "email_changed")] == [ada.email]
    assert [m["to"] for m in await mails(world, "email_change_done")] == [FRESH]
    assert await signed_in(world, ada) == "INVALID_INPUT"
    assert await is_signed_in(world, await signed_in(world, Person(ada.user, FRESH, "")))
    before = await world.fingerprint()
    assert await confirm(world, link["token"]) == GONE
    assert await world.fingerprint() == before


async def test_nobody_else_sees_the_address_that_waits(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    assert await ask(world, ada) == []
    query = '{ collective(slug: "ada") { ... on User { email pendingEmail identities { id } } } }'
    for by in (None, eve):
        data = await world.query(query, by=by)
        assert data["collective"] == {"email": None, "pendingEmail": None, "identities": []}


@pytest.mark.parametrize("email", ["ada@commonweal.test", "ADA@Commonweal.TEST", "no address", ""])
async def test_a_refused_change_stores_nothing(world: World, email: str) -> None:
    ada = await world.person("ada")
    await world.expect_problem("changeEmail", "INVALID_INPUT", ["input", "email"], by=ada, email=email)


@pytest.mark.parametrize("is_claimed", [True, False])
async def test_an_address_of_another_user_reveals_nothing_and_its_owner_is_told(
    world: World, is_claimed: bool
) -> None:
    ada, bea = await world.person("ada"), await world.person("bea", claimed=is_claimed)
    payloads = [
        await world.mutate("changeEmail", "user { id pendingEmail }", by=ada, email=email)
        for email in (FRESH, bea.email)
    ]
    assert [p["user"]["pendingEmail"] for p in payloads] == [FRESH, bea.email]
    assert [p["errors"] for p in payloads] == [[], []]
    assert [m["to"] for m in await mails(world, "email_change_confirm")] == [FRESH]
    assert [m["to"] for m in await mails(world, "email_change_taken")] == [bea.email]
    assert len(await mails(world, "email_change_requested")) == 2
    assert [await email_of(world, person) for person in (ada, bea)] == [ada.email, bea.email]


async def test_an_address_that_was_taken_meanwhile_is_refused(world: World) -> None:
    ada = await world.person("ada")
    assert await ask(world, ada) == []
    (link,) = await mails(world, "email_change_confirm")
    await world.mutate("signUp", "user { id }", email=FRESH, name="Somebody")
    before = await world.fingerprint()
    assert await confirm(world, link["token"]) == [("CONFLICT", ["input", "token"])]
    assert await world.fingerprint() == before


async def test_a_second_change_replaces_the_one_that_waits(world: World) -> None:
    ada = await world.person("ada")
    assert await ask(world, ada) == []
    assert await ask(world, ada, "ada@third.example") == []
    first, second = await mails(world, "email_change_confirm")
    assert await confirm(world, first["token"]) == GONE
    assert await confirm(world, second["token"]) == []
    assert await email_of(world, ada) == "ada@third.example"


async def test_a_reset_or_change_of_the_password_ends_a_change_that_waits(world: World) -> None:
    for how in ("reset", "change"):
        ada = await world.person(f"ada-{how}")
        await with_password(world, ada)
        assert await ask(world, ada, f"{how}@new.example") == []
        if how == "reset":
            await world.mutate("requestPasswordReset", email=ada.email)
            (mail,) = await mails(world, "password_reset")
            payload = await world.mutate("resetPassword", "user { id }", token=mail["token"], password=NEW)
        else:
            payload = await world.mutate(
                "changePassword", "user { id }", by=ada, currentPassword=OLD, newPassword=NEW
            )
        assert payload["errors"] == []
        link = (await mails(world, "email_change_confirm"))[-1]
        assert await confirm(world, link["token"]) == GONE
        assert await email_of(world, ada) == ada.email


async def test_suspension_and_merging_end_a_change_that_waits(world: World) -> None:
    ada, bea, eve = [await world.person(slug) for slug in ("ada", "bea", "eve")]
    assert await ask(world, ada) == []
    assert await ask(world, bea, "bea@new.example") == []
    await world.mutate("suspendUser", "user { id }", by=world.admin, user=ref(ada), reason="Fraud")
    await world.consent_to_merge(bea, eve)
    await world.mutate("mergeUsers", "user { id }", by=bea, into=ref(eve), **{"from": ref(bea)})
    for link in await mails(world, "email_change_confirm"):
        assert await confirm(world, link["token"]) == GONE


async def test_archiving_ends_a_change_that_waits_and_every_mailed_link(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    assert await ask(world, ada) == []
    await world.mutate("requestPasswordReset", email=ada.email)
    archived = await world.mutate("archiveCollective", by=ada, collective=ref(ada))
    assert archived["errors"] == []
    assert await world.scalar("SELECT count(*) FROM email_token WHERE used_at IS NULL") == 0
    (link,) = await mails(world, "email_change_confirm")
    assert await confirm(world, link["token"]) == GONE
    assert await email_of(world, ada) == ada.email


async def test_a_link_expires(world: World, database: Database) -> None:
    ada = await world.person("ada")
    assert await ask(world, ada) == []
    (link,) = await mails(world, "email_change_confirm")
    backdate(database, "expires_at = now() - interval '1 second'")
    assert await confirm(world, link["token"]) == GONE


async def test_the_old_address_takes_itself_back_and_everything_ends(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    token = await changed(world, ada)
    stranger = Person(ada.user, FRESH, "")
    thief = await signed_in(world, stranger)
    program = await world.access_token(ada, "READ")
    await world.add(Identity(user_id=ada.user.id, issuer="https://id.example", subject="thief"))
    await world.add(TotpFactor(user_id=ada.user.id, secret=b"x"))
    await world.mutate("requestPasswordReset", email=FRESH)
    (reset,) = await mails(world, "password_reset")
    assert await ask(world, thief, "thief@third.example") == []
    assert await undo(world, token) == []
    assert await email_of(world, ada) == ada.email
    assert [await is_signed_in(world, t) for t in (ada.token, thief, program)] == [False, False, False]
    for table in ("identity", "totp_factor", "device"):
        assert await world.scalar(f"SELECT count(*) FROM {table}") == 0
    late = await world.mutate("resetPassword", "user { id }", token=reset["token"], password="the thief's")
    assert error_codes(late) == GONE
    assert await confirm(world, (await mails(world, "email_change_confirm"))[-1]["token"]) == GONE
    assert await signed_in(world, stranger) == "INVALID_INPUT"
    assert await signed_in(world, ada) == "INVALID_INPUT"  # the thief may know the password
    (done,) = await mails(world, "email_change_undone")
    assert done["to"] == ada.email
    assert [m["to"] for m in await mails(world, "email_given_back")] == [FRESH]
    fresh = await world.mutate("resetPassword", "user { id }", token=done["token"], password=NEW)
    assert fresh["errors"] == []
    before = await world.fingerprint()
    assert await undo(world, token) == GONE
    assert await world.fingerprint() == before


async def test_a_password_that_was_changed_meanwhile_ends_with_the_change(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    token = await changed(world, ada)
    await world.mutate("requestPasswordReset", email=FRESH)
    (reset,) = await mails(world, "password_reset")
    await world.mutate("resetPassword", "user { id }", token=reset["token"], password=NEW)
    assert await undo(world, token) == []
    assert [await signed_in(world, ada, p) for p in (OLD, NEW)] == ["INVALID_INPUT", "INVALID_INPUT"]


async def test_nobody_outruns_an_undo_by_changing_the_address_again(world: World) -> None:
    ada = await world.person("ada")
    first = await changed(world, ada)
    second = await changed(world, ada, "thief@third.example")
    assert await undo(world, first) == []
    assert await undo(world, second) == GONE
    assert await email_of(world, ada) == ada.email


async def test_an_undo_works_for_seven_days(world: World, database: Database) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    tokens = [await changed(world, ada), await changed(world, bea, "bea@new.example")]
    left = await world.scalar("SELECT extract(epoch FROM min(undo_until - now())) / 86400 FROM email_change")
    assert 6.99 < left <= 7
    backdate(database, "undo_until = now() - interval '1 second' WHERE old_email LIKE 'ada@%'")
    assert await undo(world, tokens[0]) == GONE
    assert await undo(world, tokens[1]) == []
    assert await email_of(world, ada) == FRESH


async def test_two_undos_at_once_work_once(world: World) -> None:
    ada = await world.person("ada")
    token = await changed(world, ada)
    answers = await asyncio.gather(*(undo(world, token) for _ in range(4)))
    assert sorted(answers, key=len) == [[], GONE, GONE, GONE]


async def test_an_old_address_is_kept_for_its_owner(world: World) -> None:
    ada, admin = await world.person("ada"), await world.person("admin")
    token = await changed(world, ada)
    club = await world.community("club", None, admin)
    await world.mutate("signUp", "user { id }", email=ada.email, name="Somebody")
    await world.mutate("inviteMember", by=admin, collective=ref(club), role="MEMBER", email=ada.email)
    assert [m["to"] for m in await mails(world, "address_in_use")] == [ada.email]
    assert await world.scalar("SELECT user_id FROM invitation") == ada.user.id
    assert await ask(world, admin, ada.email) == []
    assert [m["to"] for m in await mails(world, "email_change_taken")] == [ada.email]
    assert await undo(world, token) == []


async def test_a_viewer_whose_sessions_end_sees_nothing_more(world: World) -> None:
    ada = await world.person("ada")
    token = await changed(world, ada)
    query = "mutation($i: UndoEmailChangeInput!) { undoEmailChange(input: $i) { user { id email } } }"
    data = await world.query(query, by=ada, i={"token": token})
    assert data["undoEmailChange"]["user"]["email"] is None


@pytest.mark.parametrize("has_asked", [True, False])
async def test_only_the_viewer_whose_session_asked_stays(world: World, *, has_asked: bool) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    assert await ask(world, ada) == []
    (link,) = await mails(world, "email_change_confirm")
    by = ada.token if has_asked else await signed_in(world, ada)
    query = "mutation($i: ConfirmEmailChangeInput!) { confirmEmailChange(input: $i) { user { email } } }"
    data = await world.query(query, by=by, i={"token": link["token"]})
    assert data["confirmEmailChange"]["user"]["email"] == (FRESH if has_asked else None)


async def test_changes_are_limited_by_user_and_address(world: World) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    answers = [await ask(world, ada, f"a{i}@new.example") for i in range(6)]
    assert answers == [[]] * 5 + [[("RATE_LIMITED", ["input", "email"])]]
    assert await ask(world, bea, "a0@new.example") == []


async def test_the_database_keeps_the_steps_and_the_addresses(world: World, database: Database) -> None:
    ada, bea = await world.person("ada"), await world.person("bea")
    await changed(world, ada)
    assert await ask(world, bea, "bea@new.example") == []
    with psycopg.connect(database.app_url, autocommit=True) as app:
        with pytest.raises(psycopg.errors.CheckViolation, match="kept for another"):
            app.execute("UPDATE credential SET email = %s WHERE user_id = %s", [ada.email, bea.user.id])
        with pytest.raises(psycopg.errors.UniqueViolation):
            app.execute("UPDATE credential SET email = %s WHERE user_id = %s", [FRESH, bea.user.id])
        for change in ("undo_until = undo_until + interval '1 second'", "confirmed_at = now()"):
            with pytest.raises(psycopg.errors.CheckViolation):
                app.execute(f"UPDATE email_change SET {change} WHERE user_id = %s", [ada.user.id])
        for column in ("new_email", "old_email", "token_hash", "expires_at", "user_id"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(f"UPDATE email_change SET {column} = {column}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM email_change")
        with pytest.raises(psycopg.errors.UniqueViolation, match="uq_email_change_waiting"):
            app.execute(
                "INSERT INTO email_change (id, user_id, old_email, new_email, token_hash, expires_at) VALUES"
                " (gen_random_uuid(), %s, 'a@x.test', 'b@x.test', 'x', now() + interval '1 day')",
                [bea.user.id],
            )
    backdate(database, "undo_until = now() - interval '1 second' WHERE confirmed_at IS NOT NULL")
    late = "UPDATE email_change SET undone_at = undo_until WHERE user_id = %s"
    with (
        psycopg.connect(database.app_url, autocommit=True) as app,
        pytest.raises(psycopg.errors.CheckViolation, match="is over"),
    ):
        app.execute(late, [ada.user.id])


async def test_an_admin_keeps_the_roles(world: World) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    await changed(world, ada)
    data = await world.query("{ me { memberOf(role: ADMIN) { nodes { collective { slug } } } } }", by=ada)
    assert data["me"]["memberOf"]["nodes"] == [{"collective": {"slug": club.slug}}]
