"""Erasing a person: what goes, what stays, who is refused, and what happens at the same moment."""

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models import now
from models.enums import MemberRole
from services.collectives import erasure
from services.core.file_stores import FolderStore
from services.messaging import outbox
from services.orders import erased_files
from tests.factories import Person, World, money, ref

NAME = "Beatrix-Quimby"
# The columns of text of every table, with those of lists and of JSON.
TEXTS = """SELECT c.table_name, c.column_name FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
      AND (c.data_type IN ('text', 'jsonb', 'json', 'character varying') OR c.data_type = 'ARRAY')"""
EXCEPTIONS: dict[tuple[str, str], str] = {
    # The wish to get no more mail outlives the person: otherwise mails to the address would begin again.
    ("mail_stop", "address"): "only of those who stopped mails",
}


async def traces(world: World, *words: str) -> set[tuple[str, str]]:
    """Return the columns of the database that hold one of the words."""
    found = set()
    async with world.sessions() as session:
        for table, column in (await session.execute(text(TEXTS))).all():
            sql = f'SELECT count(*) FROM "{table}" WHERE {{}}'.format(
                " OR ".join(f'"{column}"::text ILIKE :w{i}' for i in range(len(words)))
            )
            values = {f"w{i}": f"%{word}%" for i, word in enumerate(words)}
            if (await session.execute(text(sql), values)).scalar_one():
                found.add((table, column))
    return found


async def erase(world: World, who: Person) -> dict[str, Any]:
    return await world.mutate("eraseMe", "pseudonym", by=who, slug=who.slug)


def paid_by(payer: Any) -> dict[str, Any]:
    return {"from": ref(payer)}


def in_a_day() -> str:
    return (now() + timedelta(days=1)).isoformat()


@pytest.fixture
async def bea(world: World) -> Person:
    return await world.person(NAME.lower())


async def make_history(world: World, bea: Person) -> Any:
    """Let a person leave traces everywhere; return the community with which they had to do."""
    chris = await world.person("chris")
    host = await world.host("lighthouse", chris)
    club = await world.community("club", host, chris)
    await world.fund(club, "50.00", by=chris)
    answers = [
        await world.mutate("transferFunds", by=chris, **paid_by(club), to=ref(bea), amount=money("5.00")),
        await world.mutate(
            "transferFunds",
            by=bea,
            **paid_by(bea),
            to=ref(club),
            amount=money("5.00"),
            description=f"{NAME} gives it back",
        ),
        await world.mutate(
            "createPayoutMethod",
            by=bea,
            collective=ref(bea),
            type="BANK_ACCOUNT",
            name=f"{NAME}'s account",
            details={"holder": NAME},
        ),
        await world.mutate("inviteMember", by=chris, collective=ref(club), user=ref(bea), role="MEMBER"),
        await world.mutate("followCollective", by=bea, collective=ref(club)),
        await world.mutate("muteTopics", by=bea, topics=["MONEY"]),
        await world.mutate(
            "createAccessToken", by=bea, name=f"{NAME}'s laptop", scopes=["READ"], expiresAt=in_a_day()
        ),
        await world.mutate(
            "updateCollective", by=bea, collective=ref(bea), description=f"I am {NAME}", location=NAME
        ),
    ]
    assert [answer["errors"] for answer in answers] == [[]] * len(answers)
    expense = await world.mutate(
        "submitExpense",
        "order { id }",
        by=bea,
        **paid_by(club),
        to=ref(bea),
        items=[{"description": f"{NAME} bought paint", "amount": money("3.00")}],
        description=f"{NAME}'s paint",
    )
    assert expense["errors"] == []
    cancelled = await world.mutate("cancelOrder", by=bea, id=expense["order"]["id"], reason=f"{NAME} erred")
    assert cancelled["errors"] == []
    await world.execute(
        "mutation($i: SignUpInput!) { signUp(input: $i) { errors { code } } }",
        i={"email": bea.email, "name": NAME},
    )
    return club


async def test_nothing_of_the_person_is_left(world: World, bea: Person) -> None:
    club = await make_history(world, bea)
    assert len(await traces(world, NAME)) > 8
    before = await world.scalar("SELECT count(*) FROM posting")
    payload = await erase(world, bea)
    assert payload["errors"] == []
    assert payload["pseudonym"] == f"Erased person {bea.user.id.hex[-4:]}"
    assert await traces(world, NAME, bea.email) - set(EXCEPTIONS) == set()
    assert await world.scalar("SELECT count(*) FROM posting") == before
    query = """query($s: String!) { collective(slug: $s) { transactions(first: 20) { nodes {
        fromCollective { name } toCollective { name } } } members { nodes { member { name } } } } }"""
    shown = (await world.query(query, s=club.slug))["collective"]
    names = {side["name"] for node in shown["transactions"]["nodes"] for side in node.values() if side}
    assert payload["pseudonym"] in names
    assert payload["pseudonym"] not in {node["member"]["name"] for node in shown["members"]["nodes"]}


async def test_what_is_of_others_with_the_same_name_or_a_longer_address_stays(
    world: World, bea: Person
) -> None:
    async with world.sessions() as session, session.begin():
        for key in (f"sign-in:account:{bea.email}", f"sign-in:account:x{bea.email}"):
            await session.execute(
                text("INSERT INTO throttle (key, attempts, window_ends_at) VALUES (:k, 1, now() + '1 h')"),
                {"k": key},
            )
        payload = {"name": bea.user.name, "by": "x", "collective": "x", "role": "ADMIN"}
        await outbox.mail_address(
            session, address="namesake@example.org", template="invitation", payload=payload
        )
    assert (await erase(world, bea))["errors"] == []
    kept = await world.scalar("SELECT string_agg(key, ' ') FROM throttle WHERE key LIKE 'sign-in:account:%'")
    assert kept == f"sign-in:account:x{bea.email}"
    greeted = "SELECT payload ->> 'name' FROM outbox WHERE recipient = 'namesake@example.org'"
    assert await world.scalar(greeted) == bea.user.name


async def test_the_text_of_an_application_is_not_in_the_log(world: World, bea: Person) -> None:
    chris = await world.person("chris")
    host = await world.host("lighthouse", chris)
    club = await world.community("club", None, bea)
    applied = await world.mutate(
        "applyToHost", by=bea, collective=ref(club), host=ref(host), message="Call Beatrix on 0176"
    )
    assert applied["errors"] == []
    assert await traces(world, "0176") == {("host_application", "message")}


async def test_sessions_end_and_the_address_is_free_again(world: World, bea: Person) -> None:
    token = await world.access_token(bea, "READ")
    assert (await erase(world, bea))["errors"] == []
    for key in (bea.token, token):
        body = await world.execute("{ me { slug } }", by=key)
        assert body["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    await world.mutate("signUp", email=bea.email, name="Somebody New")
    sql = "SELECT count(*) FROM credential WHERE email = :e AND user_id <> :id"
    assert await world.scalar(sql, e=bea.email, id=bea.user.id) == 1
    opened = await world.mutate(
        "unarchiveCollective", by=world.admin, collective={"slug": f"erased-{bea.user.id.hex}"}
    )
    assert [error["code"] for error in opened["errors"]] == ["INVALID_STATE"]


async def test_whoever_has_a_balance_is_refused(world: World, bea: Person) -> None:
    await world.currents(bea, value="1.000")
    await refused(world, bea, "balance")


async def test_whoever_has_an_open_order_is_refused(world: World, bea: Person) -> None:
    chris = await world.person("chris")
    club = await world.community("club", await world.host("lighthouse", chris), chris)
    await world.mutate(
        "submitExpense", by=bea, **paid_by(club), to=ref(bea), amount=money("3.00"), description="x"
    )
    await refused(world, bea, "open order")


async def test_the_last_admin_is_refused(world: World, bea: Person) -> None:
    await world.community("club", None, bea)
    await refused(world, bea, "last ADMIN of club")
    await refused(world, world.admin, "last ADMIN")


async def refused(world: World, who: Person, why: str) -> None:
    before = await world.fingerprint()
    payload = await erase(world, who)
    assert [(error["code"], error["path"]) for error in payload["errors"]] == [("INVALID_STATE", ["input"])]
    assert why in payload["errors"][0]["message"]
    assert await world.fingerprint() == before


async def test_another_slug_or_a_token_erases_nobody(world: World, bea: Person) -> None:
    await world.expect_problem("eraseMe", "INVALID_INPUT", ["input", "slug"], by=bea, slug="platform-admin")
    token = await world.access_token(bea, "COLLECTIVES")
    body = await world.execute(
        "mutation($i: EraseMeInput!) { eraseMe(input: $i) { errors { code } } }",
        by=token,
        i={"slug": bea.slug},
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_erasing_while_an_order_is_approved_leaves_all_consistent(world: World) -> None:
    """The one who is later is refused, or finds everything settled."""
    chris = await world.person("chris")
    club = await world.community("club", await world.host("lighthouse", chris), chris)
    await world.fund(club, "50.00", by=chris)
    for i in range(6):
        person = await world.person(f"racer-{i}")
        expense = await world.mutate(
            "submitExpense",
            "order { id }",
            by=person,
            **paid_by(club),
            to=ref(person),
            amount=money("1.00"),
            payoutMethod="BALANCE",
            description="x",
        )
        erased, approved = await asyncio.gather(
            erase(world, person), world.mutate("approveOrder", by=chris, id=expense["order"]["id"])
        )
        assert [error["code"] for error in erased["errors"]] == ["INVALID_STATE"]
        assert approved["errors"] == []
        sql = "SELECT count(*) FROM collective WHERE id = :id AND erased_at IS NULL AND archived_at IS NULL"
        assert await world.scalar(sql, id=person.user.id) == 1


async def test_erasing_while_money_arrives_leaves_all_consistent(world: World) -> None:
    chris = await world.person("chris")
    club = await world.community("club", await world.host("lighthouse", chris), chris)
    await world.fund(club, "50.00", by=chris)
    for i in range(6):
        person = await world.person(f"racer-{i}")
        erased, sent = await asyncio.gather(
            erase(world, person),
            world.mutate("transferFunds", by=chris, **paid_by(club), to=ref(person), amount=money("1.00")),
        )
        assert (erased["errors"] == []) != (sent["errors"] == [])
        owed = "SELECT coalesce(sum(posted), 0) FROM ledger_account WHERE owner_id = :id AND kind = 'BALANCE'"
        assert await world.scalar(owed, id=person.user.id) == (0 if erased["errors"] == [] else 100)


# People who never came -------------------------------------------------------------------------------------


async def test_people_who_never_came_are_erased_and_no_others(world: World) -> None:
    chris = await world.person("chris")
    club = await world.community("club", None, chris)
    names = ("forgotten", "recent", "with-currents", "claimed")
    people = {name: await world.person(name, claimed=name == "claimed") for name in names}
    await world.currents(people["with-currents"])
    await world.mutate(
        "inviteMember", by=chris, collective=ref(club), email=people["forgotten"].email, role="MEMBER"
    )
    async with world.sessions() as session, session.begin():
        older = "UPDATE collective SET created_at = created_at - interval '3 years' WHERE type = 'USER'"
        await session.execute(text(f"{older} AND slug <> 'recent'"))
    for expected in (1, 0):
        async with world.sessions() as session, session.begin():
            assert await erasure.erase_unclaimed(session, days=730) == expected
    assert await traces(world, "forgotten") == set()
    async with world.sessions() as session:
        erased = (
            (await session.execute(text("SELECT id FROM collective WHERE erased_at IS NOT NULL")))
            .scalars()
            .all()
        )
    assert erased == [people["forgotten"].user.id]


@pytest.mark.parametrize("archived", ["NULL", "now()"])
async def test_the_database_erases_nobody_with_money(world: World, bea: Person, archived: str) -> None:
    await world.currents(bea)
    async with world.sessions() as session, session.begin():
        sql = f"UPDATE collective SET archived_at = {archived} WHERE id = :id"
        await session.execute(text(sql), {"id": bea.user.id})
    async with world.sessions() as session:
        with pytest.raises(DBAPIError, match="only an archived person without money"):
            await session.execute(text("SELECT erase_person(:id, 'x', 'xx')"), {"id": bea.user.id})


async def test_the_files_of_an_erased_person_go_unless_they_are_somebody_elses_too(
    world: World, bea: Person, tmp_path: Path
) -> None:
    ann = await world.person("ann")
    for owner, content in ((bea, "aa"), (bea, "bb"), (ann, "bb")):
        await add_receipt(world, owner.user.id, content)
        (tmp_path / content).mkdir(exist_ok=True)
        (tmp_path / content / (content * 32)).write_text("x")
        an_hour_ago = time.time() - 3600
        os.utime(tmp_path / content / (content * 32), (an_hour_ago, an_hour_ago))
    await erase(world, bea)
    async with world.sessions() as session, session.begin():
        await session.execute(
            text(
                "UPDATE collective SET erased_at = erased_at - interval '1 hour' WHERE erased_at IS NOT NULL"
            )
        )
    await erased_files.delete_erased_files(world.sessions, files=FolderStore(tmp_path))
    assert stored(tmp_path) == ["bb" * 32]


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def add_receipt(world: World, owner_id: UUID, content: str) -> None:
    async with world.sessions() as session, session.begin():
        await session.execute(
            text(
                "INSERT INTO receipt (id, owner_id, content_type, size_bytes, sha256)"
                " VALUES (gen_random_uuid(), :o, 'image/png', 1, decode(:h, 'hex'))"
            ),
            {"o": owner_id, "h": content * 32},
        )


async def test_a_member_who_is_erased_leaves(world: World, bea: Person) -> None:
    chris = await world.person("chris")
    club = await world.community("club", None, chris)
    await world.member(club, bea, MemberRole.ADMIN)
    assert (await erase(world, bea))["errors"] == []
    sql = "SELECT count(*) FROM member WHERE member_id = :id AND until IS NULL"
    assert await world.scalar(sql, id=bea.user.id) == 0
