"""Hosts: application to the platform, approval, suspension; leaving a host."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from models import Collective
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, error_codes, money, ref
from tests.statement_counts import record_statements, without_control

APPLICATION = "application { id status reason collective { slug } host { slug } expiresAt }"
PENDING = "{ applicationsAsHost { id collective { slug } host { slug } } }"
TEN = money("10.00")


async def asked(world: World, by: Person, slug: str) -> str:
    """Apply to be a host; return the application's id."""
    payload = await world.mutate("applyAsHost", APPLICATION, by=by, collective={"slug": slug}, message="Us")
    assert payload["errors"] == [], payload
    return str(payload["application"]["id"])


async def with_organization(world: World) -> tuple[Person, Collective]:
    """Return an admin and their nonprofit, which is no host."""
    ada = await world.person("ada")
    return ada, await world.community("own", None, ada, collective_type=CollectiveType.NONPROFIT)


async def forbidden(world: World, mutation: str, by: Person, **arguments: Any) -> None:
    before = await world.fingerprint()
    name = mutation[0].upper() + mutation[1:]
    body = await world.execute(
        f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}", by=by, i=arguments
    )
    assert [e["extensions"]["code"] for e in body["errors"]] == ["FORBIDDEN"]
    assert await world.fingerprint() == before


@pytest.mark.parametrize("kind", [CollectiveType.NONPROFIT, CollectiveType.BUSINESS])
async def test_an_approved_host_has_a_book(world: World, kind: CollectiveType) -> None:
    ada = await world.person("ada")
    payload = await world.mutate(
        "createCollective", by=ada, type=kind, name="Own", slug="own", currency="USD", isHost=True
    )
    assert payload["errors"] == []
    assert await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_requested'") == (
        world.admin.email
    )
    (waiting,) = (await world.query(PENDING, by=world.admin))["applicationsAsHost"]
    assert (waiting["collective"], waiting["host"]) == ({"slug": "own"}, {"slug": "own"})
    assert (await world.query(PENDING, by=ada))["applicationsAsHost"] == []
    payload = await world.mutate("decideHost", APPLICATION, by=world.admin, id=waiting["id"], approve=True)
    assert (payload["errors"], payload["application"]["status"]) == ([], "ACCEPTED")
    assert (await world.query(PENDING, by=world.admin))["applicationsAsHost"] == []
    own = '{ collective(slug: "own") { host { slug } balances { posted { minorUnits } } } }'
    assert (await world.query(own))["collective"] == {
        "host": {"slug": "own"},
        "balances": [{"posted": {"minorUnits": "0"}}],
    }
    payload = await world.mutate("addFunds", by=ada, to={"slug": "own"}, amount=TEN)
    assert payload["errors"] == []
    await world.assert_clean_ledger()


async def test_no_money_comes_to_or_through_an_organization_that_is_no_host(world: World) -> None:
    ada, own = await with_organization(world)
    await asked(world, ada, "own")
    host = await world.host("host", ada)
    rich, club = await world.community("rich", host, ada), await world.community("club", None, ada)
    await world.fund(rich, "100.00", by=ada)
    await forbidden(world, "addFunds", ada, to=ref(own), amount=TEN)
    for mutation in ("donate", "transferFunds"):
        for from_, to, path in ((rich, own, "to"), (own, rich, "from")):
            sides: dict[str, Any] = {"from": ref(from_), "to": ref(to), "amount": TEN}
            await world.expect_problem(mutation, "INVALID_STATE", ["input", path], by=ada, **sides)
    manual: dict[str, Any] = {"from": ref(rich), "to": ref(own), "amount": TEN, "paymentMethod": "MANUAL"}
    await world.expect_problem("donate", "INVALID_STATE", ["input", "to"], by=ada, **manual)
    bill: dict[str, Any] = {"from": ref(rich), "to": ref(own), "amount": TEN, "payoutMethod": "BALANCE"}
    await world.expect_problem("submitExpense", "INVALID_STATE", ["input", "payoutMethod"], by=ada, **bill)
    bill = {"from": ref(own), "to": ref(ada), "amount": TEN}
    await world.expect_problem("submitExpense", "INVALID_STATE", ["input", "from"], by=ada, **bill)
    application: dict[str, Any] = {"collective": ref(club), "host": ref(own)}
    await world.expect_problem("applyToHost", "INVALID_INPUT", ["input", "host"], by=ada, **application)
    method: dict[str, Any] = {"host": ref(own), "name": "Card", "type": "BALANCE"}
    await world.expect_problem("createPaymentMethod", "INVALID_INPUT", ["input", "host"], by=ada, **method)


async def test_only_an_organization_without_a_host_applies_and_once(world: World) -> None:
    ada, own = await with_organization(world)
    host = await world.host("host", ada)
    club, hosted = await world.community("club", None, ada), await world.community("hosted", host, ada)
    for row, code in ((club, "INVALID_INPUT"), (ada, "INVALID_INPUT"), (hosted, "INVALID_INPUT")):
        await world.expect_problem("applyAsHost", code, ["input", "collective"], by=ada, collective=ref(row))
    nonprofit = CollectiveType.NONPROFIT
    guest = await world.community("guest", host, ada, collective_type=nonprofit)
    for row in (guest, host):
        path = ["input", "collective"]
        await world.expect_problem("applyAsHost", "CONFLICT", path, by=ada, collective=ref(row))
    await asked(world, ada, "own")
    for mutation, arguments in (("applyAsHost", {}), ("applyToHost", {"host": ref(host)})):
        path = ["input", "collective"]
        await world.expect_problem(mutation, "CONFLICT", path, by=ada, collective=ref(own), **arguments)


async def test_the_applicant_cannot_decide_by_any_door(world: World) -> None:
    ada, own = await with_organization(world)
    application_id = await asked(world, ada, "own")
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    await forbidden(world, "decideHost", ada, **arguments)
    await world.expect_problem("decideHostApplication", "NOT_FOUND", ["input", "id"], by=ada, **arguments)
    async with world.sessions() as session:
        with pytest.raises(DBAPIError, match="only the platform approves a host"):
            await session.execute(
                text(
                    "UPDATE host_application SET status = 'ACCEPTED', decided_by_id = :ada,"
                    " decided_at = now()"
                ),
                {"ada": ada.user.id},
            )
    data = await world.query(
        '{ collective(slug: "own") { ... on Organization { hostApplications { id } } } }', by=ada
    )
    assert data["collective"]["hostApplications"] == []
    assert own.host_id is None


async def test_a_declined_application_needs_a_reason_and_is_final(world: World) -> None:
    ada, _ = await with_organization(world)
    application_id = await asked(world, ada, "own")
    path = ["input", "reason"]
    refusal: dict[str, Any] = {"id": application_id, "approve": False}
    await world.expect_problem("decideHost", "INVALID_INPUT", path, by=world.admin, **refusal)
    payload = await world.mutate("decideHost", APPLICATION, by=world.admin, reason="Not yet", **refusal)
    assert (payload["application"]["status"], payload["application"]["reason"]) == ("DECLINED", "Not yet")
    assert await world.scalar("SELECT host_id FROM collective WHERE slug = 'own'") is None
    again: dict[str, Any] = {"id": application_id, "approve": True}
    await world.expect_problem("decideHost", "INVALID_STATE", ["input", "id"], by=world.admin, **again)
    assert await asked(world, ada, "own") != application_id


async def test_an_expired_application_is_not_approved_and_makes_room_for_another(world: World) -> None:
    ada, _ = await with_organization(world)
    application_id = await asked(world, ada, "own")
    async with world.sessions() as session, session.begin():
        await session.execute(text("UPDATE host_application SET expires_at = now() - interval '1 second'"))
    assert (await world.query(PENDING, by=world.admin))["applicationsAsHost"] == []
    assert (await world.query("{ sentHostApplications { id } }", by=ada))["sentHostApplications"] == []
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    await world.expect_problem("decideHost", "INVALID_STATE", ["input", "id"], by=world.admin, **arguments)
    path = ["input", "id"]
    await world.expect_problem("withdrawHostApplication", "INVALID_STATE", path, by=ada, id=application_id)
    async with world.sessions() as session:
        with pytest.raises(DBAPIError, match="accepted_in_time"):
            await session.execute(
                text(
                    "UPDATE host_application SET status = 'ACCEPTED', decided_by_id = :by, decided_at = now()"
                ),
                {"by": world.admin.user.id},
            )
    assert await asked(world, ada, "own") != application_id
    assert await world.scalar("SELECT count(*) FROM host_application WHERE status = 'EXPIRED'") == 1


async def test_a_withdrawn_application_makes_room_for_another(world: World) -> None:
    ada, own = await with_organization(world)
    host = await world.host("host")
    application_id = await asked(world, ada, "own")
    sent = await world.query("{ sentHostApplications { id host { slug } } }", by=ada)
    assert sent["sentHostApplications"] == [{"id": application_id, "host": {"slug": "own"}}]
    payload = await world.mutate("withdrawHostApplication", APPLICATION, by=ada, id=application_id)
    assert (payload["errors"], payload["application"]["status"]) == ([], "WITHDRAWN")
    path = ["input", "id"]
    await world.expect_problem("withdrawHostApplication", "INVALID_STATE", path, by=ada, id=application_id)
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    await world.expect_problem("decideHost", "INVALID_STATE", path, by=world.admin, **arguments)
    payload = await world.mutate("applyToHost", by=ada, collective=ref(own), host=ref(host))
    assert payload["errors"] == []


async def test_a_list_of_applications_is_one_statement(world: World, engine: AsyncEngine) -> None:
    ada, _ = await with_organization(world)
    more = [
        await world.community(f"own-{i}", None, ada, collective_type=CollectiveType.BUSINESS)
        for i in range(3)
    ]
    for row in more:
        await asked(world, ada, row.slug)
    for query, by in (
        ("{ applicationsAsHost { id } }", world.admin),
        ("{ applicationsAsHost { id collective { slug } host { slug } } }", world.admin),
        ("{ sentHostApplications { id } }", ada),
        ("{ sentInvitations { id } }", ada),
    ):
        await world.query(query, by=by)
        with record_statements(engine) as statements:
            await world.query(query, by=by)
        assert len(without_control(statements)) == 1, statements


async def with_suspended(world: World) -> tuple[Person, Collective, Collective]:
    """Return the admin of a suspended host, the host, and its collective with 100.00."""
    ada = await world.person("ada")
    host = await world.host("host", ada)
    club = await world.community("club", host, ada)
    await world.fund(club, "100.00", by=ada)
    payload = await world.mutate(
        "suspendHost",
        "collective { ... on Organization { isHostSuspended hostSuspensionReason } }",
        by=world.admin,
        host=ref(host),
        reason="No accounts",
    )
    assert payload["errors"] == []
    assert payload["collective"] == {"isHostSuspended": True, "hostSuspensionReason": "No accounts"}
    return ada, host, club


async def test_a_suspended_host_takes_no_new_money_and_pays_out(world: World) -> None:
    ada = await world.person("bob")
    other_host = await world.host("other-host", ada)
    other = await world.community("other", other_host, ada)
    await world.fund(other, "100.00", by=ada)
    boss, host, club = await with_suspended(world)
    await world.member(other, boss, MemberRole.ADMIN)
    to_club: dict[str, Any] = {"to": ref(club), "amount": TEN}
    for mutation, arguments in (
        ("addFunds", {}),
        ("donate", {"from": ref(other)}),
        ("donate", {"from": ref(boss), "paymentMethod": "MANUAL"}),
        ("transferFunds", {"from": ref(other)}),
    ):
        path = ["input", "to"]
        await world.expect_problem(mutation, "INVALID_STATE", path, by=boss, **to_club, **arguments)
    bill = {"from": ref(other), "payoutMethod": "BALANCE"}
    path = ["input", "payoutMethod"]
    await world.expect_problem("submitExpense", "INVALID_STATE", path, by=boss, **to_club, **bill)
    free = await world.community("free", None, boss)
    application: dict[str, Any] = {"collective": ref(free), "host": ref(host)}
    await world.expect_problem("applyToHost", "INVALID_STATE", ["input", "host"], by=boss, **application)

    submitted = await world.mutate(
        "submitExpense", "order { id }", by=ada, to=ref(ada), amount=TEN, **{"from": ref(club)}
    )
    for mutation in ("approveOrder", "payOrder"):
        payload = await world.mutate(mutation, by=boss, id=submitted["order"]["id"])
        assert payload["errors"] == []
    gift: dict[str, Any] = {"from": ref(club), "to": ref(other), "amount": TEN}
    payload = await world.mutate("donate", by=boss, **gift)
    assert payload["errors"] == []
    assert await world.balance(club) == (80_00, 0)
    await world.assert_clean_ledger()


async def test_the_database_alone_refuses_new_money_of_a_suspended_host(world: World) -> None:
    _, host, _ = await with_suspended(world)
    plain = await world.community("plain", None, collective_type=CollectiveType.NONPROFIT)
    for book, constraint in ((host, "takes no new money"), (plain, "only an approved host has a book")):
        async with world.sessions() as session:
            with pytest.raises(DBAPIError, match=constraint):
                await session.execute(
                    text("SELECT ledger_open(:book, :owner, 'EUR')"), {"book": book.id, "owner": plain.id}
                )
        async with world.sessions() as session:
            with pytest.raises(DBAPIError, match=constraint):
                await session.execute(
                    text("UPDATE collective SET host_id = :book WHERE slug = 'ada'"), {"book": book.id}
                )


async def test_an_approval_and_a_suspension_at_the_same_moment_come_one_after_the_other(
    world: World,
) -> None:
    ada = await world.person("ada")
    for turn in range(4):
        host = await world.host(f"host-{turn}", ada)
        club = await world.community(f"club-{turn}", host, ada)
        given = await world.mutate(
            "donate",
            "order { id }",
            by=ada,
            to=ref(club),
            amount=TEN,
            paymentMethod="MANUAL",
            **{"from": ref(ada)},
        )
        approved, suspended = await asyncio.gather(
            world.mutate("approveOrder", "order { status }", by=ada, id=given["order"]["id"]),
            world.mutate("suspendHost", by=world.admin, host=ref(host), reason="x"),
        )
        assert suspended["errors"] == []
        came_after = await world.scalar(
            "SELECT count(*) FROM transaction t JOIN collective c ON c.id = t.to_host_id"
            " WHERE c.id = :id AND t.at > c.host_suspended_at",
            id=host.id,
        )
        assert came_after == 0
        posted = 0 if approved["errors"] else 10_00
        assert [code for code, _ in error_codes(approved)] in ([], ["INVALID_STATE"])
        assert await world.balance(club) == (posted, 0)
        again = await world.mutate("addFunds", by=ada, to=ref(club), amount=TEN)
        assert error_codes(again) == [("INVALID_STATE", ["input", "to"])]


async def test_a_suspension_needs_a_reason_and_a_host_and_ends_by_approval(world: World) -> None:
    ada, host, club = await with_suspended(world)
    plain = await world.community("plain", None, ada)
    for row, code in ((plain, "INVALID_INPUT"), (world.platform, "INVALID_INPUT"), (host, "INVALID_STATE")):
        path = ["input", "host"]
        await world.expect_problem("suspendHost", code, path, by=world.admin, host=ref(row), reason="x")
    path = ["input", "reason"]
    await world.expect_problem(
        "suspendHost", "INVALID_INPUT", path, by=world.admin, host=ref(host), reason=" "
    )
    payload = await world.mutate(
        "decideHost", by=world.admin, id=await asked(world, ada, "host"), approve=True
    )
    assert payload["errors"] == []
    await world.fund(club, "1.00", by=ada)


async def with_hosted(world: World) -> tuple[Person, Person, Collective, Collective]:
    ada, holder = await world.person("ada"), await world.person("holder")
    host = await world.host("host", holder)
    return ada, holder, host, await world.community("club", host, ada)


@pytest.mark.parametrize("by", ["ada", "holder"])
async def test_either_side_ends_the_hosting_of_a_settled_collective(world: World, by: str) -> None:
    ada, holder, host, club = await with_hosted(world)
    actor = ada if by == "ada" else holder
    await world.fund(club, "10.00", by=holder)
    leaving: dict[str, Any] = {"collective": ref(club), "reason": "We move"}
    path = ["input", "collective"]
    await world.expect_problem("leaveHost", "INVALID_STATE", path, by=actor, **leaving)
    rest: dict[str, Any] = {"from": ref(club), "to": ref(host), "amount": TEN}
    sent = await world.mutate("transferFunds", by=ada, **rest)
    assert sent["errors"] == []
    given: dict[str, Any] = {"from": ref(ada), "to": ref(club), "amount": TEN, "paymentMethod": "MANUAL"}
    order = (await world.mutate("donate", "order { id }", by=ada, **given))["order"]
    await world.expect_problem("leaveHost", "INVALID_STATE", path, by=actor, **leaving)
    await world.mutate("cancelOrder", by=ada, id=order["id"])
    await forbidden(world, "leaveHost", await world.person("eve"), **leaving)

    payload = await world.mutate("leaveHost", "collective { host { slug } }", by=actor, **leaving)
    assert (payload["errors"], payload["collective"]) == ([], {"host": None})
    other = holder if by == "ada" else ada
    assert await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_left'") == other.email
    open_rows = "SELECT count(*) FROM member WHERE collective_id = :id AND role = 'HOST' AND until IS NULL"
    assert await world.scalar(open_rows, id=club.id) == 0
    await world.expect_problem("donate", "INVALID_STATE", ["input", "to"], by=ada, **given)
    await world.expect_problem("leaveHost", "INVALID_INPUT", path, by=ada, collective=ref(ada))
    payload = await world.mutate("applyToHost", by=ada, collective=ref(club), host=ref(host))
    assert payload["errors"] == []


@pytest.mark.parametrize("payment_method", ["BALANCE", "MANUAL"])
async def test_leaving_and_a_donation_at_the_same_moment_do_not_both_happen(
    world: World, payment_method: str
) -> None:
    ada, holder, host, _ = await with_hosted(world)
    giver = await world.community("giver", host, ada)
    await world.fund(giver, "100.00", by=holder)
    for turn in range(5):
        club = await world.community(f"club-{turn}", host, ada)
        given: dict[str, Any] = {"from": ref(giver), "to": ref(club), "amount": TEN}
        payloads = await asyncio.gather(
            world.mutate("donate", by=ada, paymentMethod=payment_method, **given),
            world.mutate("leaveHost", by=ada, collective=ref(club)),
        )
        results = sorted([code for code, _ in error_codes(payload)] for payload in payloads)
        assert results == [[], ["INVALID_STATE"]], payloads
    await world.assert_clean_ledger()


async def test_what_was_paid_through_a_former_host_is_not_refunded_in_a_new_book(world: World) -> None:
    ada, holder, host, club = await with_hosted(world)
    await world.fund(club, "10.00", by=holder)
    bill: dict[str, Any] = {"from": ref(club), "to": ref(holder), "amount": TEN}
    order = (await world.mutate("submitExpense", "order { id }", by=holder, **bill))["order"]
    for mutation, by in (("approveOrder", ada), ("payOrder", holder)):
        assert (await world.mutate(mutation, by=by, id=order["id"]))["errors"] == []
    assert (await world.mutate("leaveHost", by=ada, collective=ref(club)))["errors"] == []
    other = await world.host("other", holder)
    applied = await world.mutate(
        "applyToHost", "application { id }", by=ada, collective=ref(club), host=ref(other)
    )
    await world.mutate("decideHostApplication", by=holder, id=applied["application"]["id"], approve=True)
    path = ["input", "id"]
    await world.expect_problem("refundOrder", "INVALID_STATE", path, by=holder, id=order["id"])
    assert await world.balance(club) == (0, 0)
    assert host.id != other.id
