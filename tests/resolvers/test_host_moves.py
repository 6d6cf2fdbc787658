"""Moving to another host: the balance moves along, and the former host owes it to the new one."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Collective, new_id, now
from models.enums import MemberRole
from tests.factories import Person, World, error_codes, money, ref
from tests.statement_counts import record_statements, without_control

APPLICATION = "application { id status collective { slug host { slug } } host { slug } }"
TEN = money("10.00")
LEGS = """SELECT b.slug || ' ' || o.slug || ' ' || a.kind || ' ' || a.currency || ' ' || p.amount
    FROM posting p JOIN ledger_account a ON a.book_id = p.book_id AND a.id = p.account_id
    JOIN collective b ON b.id = a.book_id JOIN collective o ON o.id = a.owner_id
    JOIN transaction t ON t.id = p.transaction_id WHERE t.kind = 'HOST_MOVE' ORDER BY 1"""


@dataclass
class Move:
    """club is with the host `former`, whose ADMIN is `holder`; `taker` is ADMIN of the host `newer`."""

    world: World
    ada: Person
    """ADMIN of club."""
    holder: Person
    taker: Person
    former: Collective
    newer: Collective
    club: Collective

    @property
    def sides(self) -> dict[str, Any]:
        """The input of a move."""
        return {"collective": ref(self.club), "host": ref(self.newer)}

    async def ask(self, **more: Any) -> str:
        """Ask to move; return the application's id."""
        payload = await self.world.mutate("moveToHost", APPLICATION, by=self.ada, **self.sides, **more)
        assert payload["errors"] == [], payload
        return str(payload["application"]["id"])

    async def decide(self, application_id: str, **more: Any) -> dict[str, Any]:
        """Accept as the new host."""
        arguments: dict[str, Any] = {"approve": True} | more
        return await self.world.mutate(
            "decideHostApplication", APPLICATION, by=self.taker, id=application_id, **arguments
        )

    async def legs(self) -> list[str]:
        """Return the postings of the move: book, owner, kind, currency, amount."""
        async with self.world.sessions() as session:
            return list((await session.execute(text(LEGS))).scalars())

    async def limit(self, value: str) -> None:
        """Set what the former host may owe the new one."""
        payload = await self.world.mutate(
            "setClearingLimit",
            by=self.taker,
            host=ref(self.newer),
            counterpart=ref(self.former),
            amount=money(value, self.newer.currency),
        )
        assert payload["errors"] == []


async def create_move(
    world: World, *, currency: str = "USD", of_newer: str = "USD", funds: str = "100.00"
) -> Move:
    ada, holder, taker = [await world.person(name) for name in ("ada", "holder", "taker")]
    former = await world.host("former", holder)
    newer = await world.host("newer", taker, currency=of_newer)
    club = await world.community("club", former, ada, currency=currency)
    move = Move(world, ada, holder, taker, former, newer, club)
    if funds:
        await world.fund(club, funds, by=holder)
    return move


@pytest.fixture
async def move(world: World) -> Move:
    return await create_move(world)


async def test_an_accepted_move_takes_the_balance_along(move: Move) -> None:
    world = move.world
    application_id = await move.ask(message="We are closer to you")
    assert await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_move'") == move.taker.email
    assert await move.legs() == []
    payload = await move.decide(application_id)
    assert payload["errors"] == []
    assert payload["application"] == {
        "id": application_id,
        "status": "ACCEPTED",
        "collective": {"slug": "club", "host": {"slug": "newer"}},
        "host": {"slug": "newer"},
    }
    assert await move.legs() == [
        "former club BALANCE USD -10000",
        "former newer CLEARING USD 10000",
        "newer club BALANCE USD 10000",
        "newer former CLEARING USD -10000",
    ]
    assert await world.balance(move.club) == (100_00, 0)
    data = await world.query(
        """{ collective(slug: "club") { host { slug } balance(currency: "USD") { posted { value } }
        members(role: HOST) { nodes { member { slug } } }
        transactions(filter: {kind: HOST_MOVE}) { nodes { fromHost { slug } toHost { slug } description
            fromCollective { slug } toCollective { slug } order { id } } } } }""",
        by=move.ada,
    )
    assert data["collective"] == {
        "host": {"slug": "newer"},
        "balance": {"posted": {"value": "100.00"}},
        "members": {"nodes": [{"member": {"slug": "newer"}}]},
        "transactions": {
            "nodes": [
                {
                    "fromHost": {"slug": "former"},
                    "toHost": {"slug": "newer"},
                    "description": "Move from Former to Newer",
                    "fromCollective": {"slug": "club"},
                    "toCollective": {"slug": "club"},
                    "order": None,
                }
            ]
        },
    }
    assert (
        await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_moved'") == move.holder.email
    )
    await world.fund(move.club, "1.00", by=move.taker)
    await world.assert_clean_ledger()


async def test_a_move_between_currencies_brings_the_exact_balance(world: World) -> None:
    await world.rate("EUR", "USD", "1.1")
    await world.rate("EUR", "GBP", "0.85")
    move = await create_move(world, currency="EUR", of_newer="GBP", funds="33.33")
    assert (await move.decide(await move.ask()))["errors"] == []
    assert await move.legs() == [
        "former club BALANCE EUR -3333",
        "former former EXCHANGE EUR 3333",
        "former former EXCHANGE GBP -2833",
        "former newer CLEARING GBP 2833",
        "newer club BALANCE EUR 3333",
        "newer former CLEARING GBP -2833",
        "newer newer EXCHANGE EUR -3333",
        "newer newer EXCHANGE GBP 2833",
    ]
    assert await world.balance(move.club) == (33_33, 0)
    await world.assert_clean_ledger()


async def test_a_move_without_a_balance_posts_nothing_and_forgets_the_former_hosts_fee(world: World) -> None:
    move = await create_move(world, funds="")
    payload = await world.mutate(
        "updateCollective", by=move.holder, collective=ref(move.club), hostFeeBps=700
    )
    assert payload["errors"] == []
    assert (await move.decide(await move.ask()))["errors"] == []
    assert await move.legs() == []
    fee = await world.scalar("SELECT host_fee_bps FROM collective WHERE id = :id", id=move.club.id)
    assert fee is None
    await world.fund(move.club, "1.00", by=move.taker)


async def test_wrong_requests_to_move_are_refused(move: Move) -> None:
    world = move.world
    free = await world.community("free", None, move.ada)
    gone = await world.community("gone", move.former, move.ada)
    gone.archived_at = now()
    await world.add(gone)
    plain = await world.community("plain", move.former)
    row, to = ["input", "collective"], ["input", "host"]
    for changes, by, code, path in (
        ({"collective": ref(free)}, move.ada, "INVALID_STATE", row),
        ({"collective": ref(gone)}, move.ada, "INVALID_STATE", row),
        ({"collective": ref(move.former)}, move.holder, "INVALID_INPUT", row),
        ({"collective": ref(move.ada)}, move.ada, "INVALID_INPUT", row),
        ({"host": ref(move.former)}, move.ada, "INVALID_INPUT", to),
        ({"host": ref(plain)}, move.ada, "INVALID_INPUT", to),
    ):
        await world.expect_problem("moveToHost", code, path, by=by, **(move.sides | changes))
    suspended = await world.mutate("suspendHost", by=world.admin, host=ref(move.newer), reason="x")
    assert suspended["errors"] == []
    await world.expect_problem("moveToHost", "INVALID_STATE", to, by=move.ada, **move.sides)


async def test_one_application_is_pending_at_a_time_and_can_be_withdrawn(move: Move) -> None:
    application_id = await move.ask()
    path = ["input", "collective"]
    await move.world.expect_problem("moveToHost", "CONFLICT", path, by=move.ada, **move.sides)
    withdrawn = await move.world.mutate("withdrawHostApplication", by=move.ada, id=application_id)
    assert withdrawn["errors"] == []
    assert await move.ask() != application_id


async def test_a_declined_move_changes_nothing(move: Move) -> None:
    application_id = await move.ask()
    payload = await move.decide(application_id, approve=False, reason="Too far")
    assert payload["application"]["status"] == "DECLINED"
    assert payload["application"]["collective"]["host"] == {"slug": "former"}
    assert await move.legs() == []


async def test_only_the_new_host_decides(move: Move) -> None:
    """The former host does not see the application; the collective's ADMIN sees it and may not decide."""
    application_id = await move.ask()
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    path = ["input", "id"]
    await move.world.expect_problem("decideHostApplication", "NOT_FOUND", path, by=move.holder, **arguments)
    before = await move.world.fingerprint()
    body = await move.world.execute(
        "mutation($i: DecideHostApplicationInput!) { decideHostApplication(input: $i) { errors { code } } }",
        by=move.ada,
        i=arguments,
    )
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await move.world.fingerprint() == before


async def refused(move: Move, application_id: str, code: str) -> None:
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    path = ["input", "id"]
    await move.world.expect_problem("decideHostApplication", code, path, by=move.taker, **arguments)


async def test_a_move_waits_for_open_orders_and_the_new_hosts_limit(move: Move) -> None:
    world = move.world
    application_id = await move.ask()
    bill: dict[str, Any] = {"from": ref(move.club), "to": ref(move.holder), "amount": TEN}
    order = (await world.mutate("submitExpense", "order { id }", by=move.holder, **bill))["order"]
    await refused(move, application_id, "INVALID_STATE")
    assert (await world.mutate("approveOrder", by=move.ada, id=order["id"]))["errors"] == []
    await refused(move, application_id, "INVALID_STATE")
    assert (await world.mutate("payOrder", by=move.holder, id=order["id"]))["errors"] == []
    await move.limit("89.99")
    await refused(move, application_id, "LIMIT_EXCEEDED")
    payload = await move.decide(application_id)
    assert "former would owe newer more than newer allows" in payload["errors"][0]["message"]
    await move.limit("90.00")
    assert (await move.decide(application_id))["errors"] == []
    assert await world.balance(move.club) == (90_00, 0)


async def test_a_balance_without_a_rate_or_too_small_to_move_stays(world: World) -> None:
    await world.rate("USD", "KRW", "1400")
    move = await create_move(world, currency="KRW", funds="700")
    await world.rate("EUR", "KRW", "1500", days_ago=8)
    euros = await world.host("euros", move.taker, currency="EUR")
    application_id = str(
        (
            await world.mutate(
                "moveToHost", APPLICATION, by=move.ada, collective=ref(move.club), host=ref(euros)
            )
        )["application"]["id"]
    )
    await refused(move, application_id, "FX_RATE_UNAVAILABLE")
    await world.mutate("withdrawHostApplication", by=move.ada, id=application_id)
    spent: dict[str, Any] = {"from": ref(move.club), "amount": money("697", "KRW")}
    other = await world.community("other", move.former, move.ada, currency="KRW")
    assert (await world.mutate("transferFunds", by=move.ada, to=ref(other), **spent))["errors"] == []
    await refused(move, await move.ask(), "AMOUNT_TOO_SMALL")


async def test_a_suspended_host_lets_go_and_takes_nobody(move: Move) -> None:
    world, application_id = move.world, await move.ask()
    for host, reason in ((move.newer, "takes nobody"), (move.former, "lets go")):
        payload = await world.mutate("suspendHost", by=world.admin, host=ref(host), reason=reason)
        assert payload["errors"] == []
    await refused(move, application_id, "INVALID_STATE")
    applied = await world.mutate(
        "applyAsHost", "application { id }", by=move.taker, collective=ref(move.newer)
    )
    approved = await world.mutate("decideHost", by=world.admin, id=applied["application"]["id"], approve=True)
    assert approved["errors"] == []
    assert (await move.decide(application_id))["errors"] == []
    assert await world.balance(move.club) == (100_00, 0)
    await world.assert_clean_ledger()


async def test_a_key_moves_once_and_a_dry_run_stores_nothing(move: Move) -> None:
    world = move.world
    before = await world.fingerprint()
    planned = await world.mutate("moveToHost", APPLICATION, by=move.ada, **move.sides, dryRun=True)
    assert planned["application"]["status"] == "PENDING"
    assert await world.fingerprint() == before
    application_id = await move.ask(idempotencyKey="move")
    after = await world.fingerprint()
    assert await move.ask(idempotencyKey="move") == application_id
    assert await world.fingerprint() == after
    changed = await world.mutate(
        "moveToHost", by=move.ada, **move.sides, message="Another", idempotencyKey="move"
    )
    assert error_codes(changed)[0][0] == "IDEMPOTENCY_CONFLICT"

    planned = await move.decide(application_id, dryRun=True)
    assert planned["application"]["collective"]["host"] == {"slug": "newer"}
    assert await world.fingerprint() == after
    first = await move.decide(application_id, idempotencyKey="yes")
    moved = await world.fingerprint()
    assert await move.decide(application_id, idempotencyKey="yes") == first
    assert await world.fingerprint() == moved
    assert (await move.decide(application_id))["errors"][0]["code"] == "INVALID_STATE"


async def test_each_step_has_a_fixed_number_of_statements(world: World, engine: AsyncEngine) -> None:
    move = await create_move(world)
    others = [await world.community(f"club-{i}", move.former, move.ada) for i in range(2)]
    for club in others:
        await world.fund(club, "5.00", by=move.holder)
    counts = []
    for club in (move.club, *others):
        one = Move(world, move.ada, move.holder, move.taker, move.former, move.newer, club)
        with record_statements(engine) as asking:
            application_id = await one.ask()
        with record_statements(engine) as deciding:
            payload = await one.decide(application_id)
        assert payload["errors"] == []
        counts.append((len(without_control(asking)), len(without_control(deciding))))
    assert counts[1] == counts[2] == STATEMENTS, counts


STATEMENTS = (7, 21)
"""Statements of asking for a move, and of accepting it with a balance in one currency."""


@pytest.mark.parametrize("other", ["donation", "expense", "refund", "leaving", "suspension", "archiving"])
async def test_a_move_and_another_step_at_the_same_moment_lose_no_money(world: World, other: str) -> None:
    move = await create_move(world, funds="")
    for turn in range(4):
        club = await world.community(f"club-{turn}", move.former, move.ada)
        await world.fund(club, "0.01" if other == "leaving" else "100.00", by=move.holder)
        one = Move(world, move.ada, move.holder, move.taker, move.former, move.newer, club)
        call = await prepare(one, other)
        application_id = await one.ask()
        moved, answer = await asyncio.gather(one.decide(application_id), call)
        codes = {code for payload in (moved, answer) for code, _ in error_codes(payload)}
        assert codes <= {"INVALID_STATE", "CONFLICT"}, (moved, answer)
        assert not (moved["errors"] and answer["errors"]), (moved, answer)
        host = await world.scalar(
            "SELECT h.slug FROM collective c JOIN collective h ON h.id = c.host_id WHERE c.id = :id",
            id=club.id,
        )
        assert host == ("former" if moved["errors"] else "newer")
        stray = await world.scalar(
            "SELECT count(*) FROM ledger_account a JOIN collective c ON c.id = a.owner_id"
            " WHERE c.id = :id AND a.kind = 'BALANCE' AND a.book_id <> c.host_id"
            " AND (a.posted <> 0 OR a.held <> 0)",
            id=club.id,
        )
        assert stray == 0
        if other == "suspension" and not answer["errors"]:
            break
    await world.assert_clean_ledger()


async def prepare(one: Move, other: str) -> Any:
    """Return a step that is not awaited yet, of a club with 100.00."""
    world, club = one.world, one.club
    if other == "donation":
        giver = await world.community(f"giver-{club.slug}", one.former, one.ada)
        await world.fund(giver, "10.00", by=one.holder)
        given: dict[str, Any] = {"from": ref(giver), "to": ref(club), "amount": TEN}
        return world.mutate("donate", by=one.ada, **given)
    if other == "expense":
        bill: dict[str, Any] = {"from": ref(club), "to": ref(one.holder), "amount": TEN}
        return world.mutate("submitExpense", by=one.holder, **bill)
    if other == "refund":
        bill = {"from": ref(club), "to": ref(one.holder), "amount": TEN}
        order = (await world.mutate("submitExpense", "order { id }", by=one.holder, **bill))["order"]
        for mutation, by in (("approveOrder", one.ada), ("payOrder", one.holder)):
            assert (await world.mutate(mutation, by=by, id=order["id"]))["errors"] == []
        return world.mutate("refundOrder", by=one.holder, id=order["id"])
    if other == "leaving":
        return world.mutate("leaveHost", by=one.ada, collective=ref(club))
    if other == "suspension":
        return world.mutate("suspendHost", by=world.admin, host=ref(one.newer), reason="x")
    return world.mutate("archiveCollective", by=one.ada, collective=ref(club))


async def test_the_database_alone_lets_no_balance_stay_behind(move: Move) -> None:
    async with move.world.sessions() as session:
        await session.execute(
            text("UPDATE collective SET host_id = :host WHERE id = :id"),
            {"host": move.newer.id, "id": move.club.id},
        )
        with pytest.raises(DBAPIError, match="cannot change while there is a balance"):
            await session.commit()


async def test_the_database_alone_makes_no_host_without_an_accepted_application(world: World) -> None:
    plain = await world.community("plain", None)
    become = "UPDATE collective SET host_id = id, host_approved_at = now() WHERE id = :id"
    applied = (
        "INSERT INTO host_application (id, collective_id, host_id, status, created_by_id, decided_by_id,"
        " decided_at) VALUES (:row, :id, :id, :status, :by, :by, now())"
    )
    async with world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE collective SET type = 'NONPROFIT' WHERE id = :id"), {"id": plain.id}
        )
    keys = {"row": new_id(), "id": plain.id, "by": world.admin.user.id}
    for status in ("PENDING", "DECLINED", "WITHDRAWN", "EXPIRED"):
        async with world.sessions() as session:
            await session.execute(text(applied), keys | {"status": status})
            with pytest.raises(DBAPIError, match="a host has an accepted application"):
                await session.execute(text(become), {"id": plain.id})
    async with world.sessions() as session:
        with pytest.raises(DBAPIError, match="a host has an accepted application"):
            await session.execute(
                text(
                    "INSERT INTO collective (id, slug, type, name, currency, host_id, host_approved_at)"
                    " VALUES (:row, 'self-made', 'NONPROFIT', 'Self', 'USD', :row, now())"
                ),
                keys,
            )
    async with world.sessions() as session, session.begin():
        await session.execute(text(applied), keys | {"status": "ACCEPTED"})
        await session.execute(text(become), {"id": plain.id})


async def test_the_database_alone_ends_no_suspension_without_a_newer_application(world: World) -> None:
    host = await world.host("host", await world.person("ada"))
    suspended = await world.mutate("suspendHost", by=world.admin, host=ref(host), reason="x")
    assert suspended["errors"] == []
    async with world.sessions() as session:
        with pytest.raises(DBAPIError, match="a host has an accepted application"):
            await session.execute(
                text(
                    "UPDATE collective SET host_suspended_at = NULL, host_suspension_reason = NULL"
                    " WHERE id = :id"
                ),
                {"id": host.id},
            )


async def test_a_former_hosts_admin_has_no_say_after_the_move(move: Move) -> None:
    world = move.world
    assert (await move.decide(await move.ask()))["errors"] == []
    assert (
        await world.scalar(
            "SELECT count(*) FROM member WHERE collective_id = :id AND role = :role AND until IS NULL",
            id=move.club.id,
            role=MemberRole.HOST,
        )
        == 1
    )
    for mutation, arguments in (
        ("addFunds", {"to": ref(move.club), "amount": TEN}),
        ("leaveHost", {"collective": ref(move.club)}),
    ):
        name = mutation[0].upper() + mutation[1:]
        body = await world.execute(
            f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}",
            by=move.holder,
            i=arguments,
        )
        assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
