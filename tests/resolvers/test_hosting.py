"""Asking a host, its answer and its fee; payment and payout methods."""

import asyncio
from typing import Any

import pytest

from models import Collective
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, money, of

APPLICATION = "application { id status message reason decidedAt collective { slug } host { slug } }"
METHOD = "paymentMethod { id type name feeBps feeFixed { minorUnits currency } host { slug } }"


def codes(done: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["path"]) for error in done["errors"]]


async def refused(
    world: World, mutation: str, code: str, path: list[str], *, by: Person, **given: Any
) -> None:
    """Assert that a mutation is refused with one code and path, and changes nothing."""
    before = await world.fingerprint()
    assert codes(await world.do(mutation, by=by, **given)) == [(code, path)]
    assert await world.fingerprint() == before


async def applied(world: World, by: Person, collective: Collective, host: Collective) -> str:
    done = await world.do("applyToHost", APPLICATION, by=by, collective=of(collective), host=of(host))
    assert done["errors"] == [], done
    return str(done["application"]["id"])


async def with_host(world: World) -> tuple[Person, Person, Collective, Collective]:
    """Return an applicant, a host's admin, a community without a host, and the host."""
    ada, holder = await world.person("ada"), await world.person("holder")
    return (
        ada,
        holder,
        await world.community("club", None, ada),
        await world.host("host", holder, fee_bps=500),
    )


@pytest.mark.parametrize(
    "kind", [CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS]
)
async def test_a_yes_sets_the_host_and_opens_the_balance(world: World, kind: CollectiveType) -> None:
    ada, holder, _, host = await with_host(world)
    group = await world.community("group", None, ada, type=kind, currency="EUR")
    done = await world.do(
        "applyToHost", APPLICATION, by=ada, collective=of(group), host=of(host), message="Please"
    )
    application = done["application"]
    application_id = application.pop("id")
    assert application == {
        "status": "PENDING",
        "message": "Please",
        "reason": None,
        "decidedAt": None,
        "collective": {"slug": "group"},
        "host": {"slug": "host"},
    }
    waiting = '{ collective(slug: "host") { ... on Organization { hostApplications { id } } } }'
    listed = await world.ask(waiting, by=holder)
    assert listed["collective"]["hostApplications"] == [{"id": application_id}]
    assert (
        await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_application'") == holder.email
    )

    done = await world.do("decideHostApplication", APPLICATION, by=holder, id=application_id, approve=True)
    assert (done["errors"], done["application"]["status"]) == ([], "ACCEPTED")
    assert (await world.ask(waiting, by=holder))["collective"]["hostApplications"] == []
    found = await world.ask(
        '{ collective(slug: "group") { host { slug } hostApprovedAt members(role: HOST) '
        "{ nodes { member { slug } } } balances { currency posted { minorUnits } } } }"
    )
    assert found["collective"].pop("hostApprovedAt")
    assert found["collective"] == {
        "host": {"slug": "host"},
        "members": {"nodes": [{"member": {"slug": "host"}}]},
        "balances": [{"currency": "EUR", "posted": {"minorUnits": "0"}}],
    }
    opened = (
        "SELECT count(*) FROM ledger_account WHERE owner_id = :id AND currency = 'EUR' AND kind = 'BALANCE'"
    )
    assert await world.scalar(opened, id=group.id) == 1


async def test_a_no_needs_a_reason_and_leaves_all_as_it_was(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    application_id = await applied(world, ada, club, host)
    for reason in (None, "", "  "):
        given: dict[str, Any] = {"id": application_id, "approve": False, "reason": reason}
        path = ["input", "reason"]
        await refused(world, "decideHostApplication", "INVALID_INPUT", path, by=holder, **given)
    done = await world.do(
        "decideHostApplication", APPLICATION, by=holder, id=application_id, approve=False, reason="Too far"
    )
    assert (done["application"]["status"], done["application"]["reason"]) == ("DECLINED", "Too far")
    assert (await world.ask('{ collective(slug: "club") { host { slug } } }'))["collective"]["host"] is None
    for approve in (True, False):
        given = {"id": application_id, "approve": approve, "reason": "x"}
        await refused(world, "decideHostApplication", "INVALID_STATE", ["input", "id"], by=holder, **given)
    assert await applied(world, ada, club, host) != application_id


async def test_who_cannot_apply_and_to_whom(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    plain = await world.community("plain", None, holder, type=CollectiveType.NONPROFIT)
    hosted = await world.community("hosted", host, ada)
    event = await world.do(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=of(club),
        name="Ball",
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
    )
    row, to = ["input", "collective"], ["input", "host"]
    for slug, by, code in (
        ("hosted", ada, "CONFLICT"),
        ("host", holder, "CONFLICT"),
        ("ada", ada, "INVALID_INPUT"),
        (event["event"]["slug"], ada, "INVALID_INPUT"),
        ("commonweal", world.admin, "INVALID_INPUT"),
    ):
        given: dict[str, Any] = {"collective": {"slug": slug}, "host": of(host)}
        await refused(world, "applyToHost", code, row, by=by, **given)
    for target in (plain, hosted, holder, club):
        given = {"collective": of(club), "host": of(target)}
        await refused(world, "applyToHost", "INVALID_INPUT", to, by=ada, **given)
    await applied(world, ada, club, host)
    other = await world.host("other")
    given = {"collective": of(club), "host": of(other)}
    await refused(world, "applyToHost", "CONFLICT", row, by=ada, **given)


async def test_of_many_answers_at_once_one_counts(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    second = await world.person("second")
    await world.member(host, second, MemberRole.ADMIN)
    for turn in range(3):
        club = await world.community(f"club-{turn}", None, ada)
        application_id = await applied(world, ada, club, host)
        done = await asyncio.gather(
            *(
                world.do("decideHostApplication", by=by, id=application_id, approve=approve, reason="x")
                for by, approve in ((holder, True), (second, False), (second, True), (holder, False))
            )
        )
        found = sorted(str(codes(answer)[0][0]) if answer["errors"] else "" for answer in done)
        assert found == ["", *["INVALID_STATE"] * 3]
        members = "SELECT count(*) FROM member WHERE collective_id = :id AND role = 'HOST' AND until IS NULL"
        accepted = "SELECT count(*) FROM host_application WHERE collective_id = :id AND status = 'ACCEPTED'"
        hosted = "SELECT count(*) FROM collective WHERE id = :id AND host_id IS NOT NULL"
        assert len({await world.scalar(sql, id=club.id) for sql in (members, accepted, hosted)}) == 1


async def test_of_two_applications_at_once_one_waits(world: World) -> None:
    ada, _, club, host = await with_host(world)
    other = await world.host("other")
    done = await asyncio.gather(
        *(world.do("applyToHost", by=ada, collective=of(club), host=of(h)) for h in (host, other, host))
    )
    assert sorted(len(answer["errors"]) for answer in done) == [0, 1, 1]


@pytest.mark.parametrize("archived", ["club", "host"])
async def test_a_yes_is_refused_once_either_side_is_archived(world: World, archived: str) -> None:
    ada, holder, club, host = await with_host(world)
    application_id = await applied(world, ada, club, host)
    by = ada if archived == "club" else holder
    done = await world.do("archiveCollective", by=by, collective={"slug": archived})
    assert done["errors"] == []
    given: dict[str, Any] = {"id": application_id, "approve": True}
    await refused(world, "decideHostApplication", "INVALID_STATE", ["input", "id"], by=holder, **given)


async def fees(world: World, club: Collective, holder: Person) -> int:
    """Return the host's fee of 100.00 added to the club, in minor units."""
    fields = "order { transactions { hostFeeInHostCurrency { minorUnits } } }"
    done = await world.do("addFunds", fields, by=holder, to=of(club), amount=money("100.00"))
    assert done["errors"] == [], done
    return int(done["order"]["transactions"][0]["hostFeeInHostCurrency"]["minorUnits"])


async def test_the_hosts_fee_is_its_own_rate_or_the_one_it_sets_for_a_collective(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club = await world.community("hosted", host, ada)
    assert await fees(world, club, holder) == 500
    for bps, expected in ((250, 250), (0, 0), (10_000, None), (None, 500)):
        done = await world.do("updateCollective", by=holder, collective=of(club), hostFeeBps=bps)
        assert done["errors"] == []
        if expected is not None:
            assert await fees(world, club, holder) == expected
    await world.do("updateCollective", by=holder, collective=of(host), hostFeeBps=700)
    assert await fees(world, club, holder) == 700
    assert await fees(world, host, holder) == 0
    for bps in (-1, 10_001):
        for mutation, given in (
            ("updateCollective", {"collective": of(club)}),
            ("addFunds", {"to": of(club), "amount": money("1.00")}),
        ):
            path = ["input", "hostFeeBps"]
            await refused(world, mutation, "INVALID_INPUT", path, by=holder, hostFeeBps=bps, **given)


async def test_a_collective_does_not_set_its_own_fee_before_it_is_hosted(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    body = await world.execute(
        "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }",
        by=ada,
        i={"collective": of(club), "hostFeeBps": 0},
    )
    application_id = await applied(world, ada, club, host)
    await world.do("decideHostApplication", by=holder, id=application_id, approve=True)
    assert await fees(world, club, holder) == 500, body


async def test_a_hosts_payment_methods_are_public_and_used_by_id(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club = await world.community("hosted", host, ada)
    other = await world.host("other", ada)
    made = await world.do(
        "createPaymentMethod",
        METHOD,
        by=holder,
        host=of(host),
        name="Card",
        type="MANUAL",
        feeBps=290,
        feeFixed=money("0.30"),
    )
    method = made["paymentMethod"]
    assert method == {
        "id": method["id"],
        "type": "MANUAL",
        "name": "Card",
        "feeBps": 290,
        "feeFixed": {"minorUnits": "30", "currency": "USD"},
        "host": {"slug": "host"},
    }
    found = await world.ask(
        'query($i: ID!) { node(id: $i) { ... on PaymentMethod { name } } collective(slug: "host") '
        "{ ... on Organization { paymentMethods { id } } } }",
        i=method["id"],
    )
    assert found == {"node": {"name": "Card"}, "collective": {"paymentMethods": [{"id": method["id"]}]}}
    gift: dict[str, Any] = {"from": of(ada), "amount": money("10.00"), "paymentMethod": method["id"]}
    done = await world.do("donate", "order { status paymentMethod { id } }", by=ada, to=of(club), **gift)
    assert done["order"] == {"status": "PENDING", "paymentMethod": {"id": method["id"]}}
    path = ["input", "paymentMethod"]
    await refused(world, "donate", "NOT_FOUND", path, by=ada, to=of(other), **gift)
    for wrong in ("card", made["paymentMethod"]["id"].replace("pay_", "out_"), ""):
        given = gift | {"paymentMethod": wrong}
        await refused(world, "donate", "INVALID_INPUT", path, by=ada, to=of(club), **given)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": ""}, ["name"]),
        ({"feeBps": -1}, ["feeBps"]),
        ({"feeBps": 10_001}, ["feeBps"]),
        ({"feeFixed": money("1.00", "EUR")}, ["feeFixed", "currency"]),
        ({"feeFixed": money("-1.00")}, ["feeFixed", "value"]),
        ({"feeFixed": money("0.001")}, ["feeFixed", "value"]),
        ({"host": {"slug": "plain"}}, ["host"]),
    ],
)
async def test_a_payment_method_that_cannot_be(world: World, given: dict[str, Any], path: list[str]) -> None:
    _, holder, _, host = await with_host(world)
    await world.community("plain", None, holder, type=CollectiveType.NONPROFIT)
    asked: dict[str, Any] = {"host": of(host), "name": "Card", "type": "BALANCE"} | given
    await refused(world, "createPaymentMethod", "INVALID_INPUT", ["input", *path], by=holder, **asked)


async def test_a_payout_method_is_its_payees_alone(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club, eve = await world.community("hosted", host, ada), await world.person("eve")
    made = await world.do(
        "createPayoutMethod",
        "payoutMethod { id type name details }",
        by=eve,
        collective=of(eve),
        name="Bank",
        type="BANK_ACCOUNT",
        details={"iban": "DE00", "holder": "Eve"},
    )
    method = made["payoutMethod"]
    assert (method["type"], method["details"]) == ("BANK_ACCOUNT", {"iban": "DE00", "holder": "Eve"})
    bill: dict[str, Any] = {"from": of(club), "amount": money("1.00"), "payoutMethod": method["id"]}
    done = await world.do("submitExpense", "order { payoutMethodType }", by=eve, to=of(eve), **bill)
    assert done["order"] == {"payoutMethodType": "BANK_ACCOUNT"}
    await refused(
        world, "submitExpense", "NOT_FOUND", ["input", "payoutMethod"], by=holder, to=of(holder), **bill
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": " "}, "name"),
        ({"type": "MANUAL"}, "type"),
        ({"type": "BALANCE"}, "type"),
        ({"details": {str(i): "x" for i in range(21)}}, "details"),
        ({"details": {"": "x"}}, "details"),
        ({"details": {"iban": ""}}, "details"),
        ({"details": {"iban": "x" * 201}}, "details"),
        ({"details": {"iban": "\x07"}}, "details"),
        ({"details": ["iban"]}, "details"),
        ({"details": "iban"}, "details"),
        ({"details": {"iban": {"nested": "x"}}}, "details"),
    ],
)
async def test_a_payout_method_that_cannot_be(world: World, given: dict[str, Any], path: str) -> None:
    eve = await world.person("eve")
    asked: dict[str, Any] = {
        "collective": of(eve),
        "name": "Bank",
        "type": "OTHER",
        "details": {"iban": "DE00"},
    } | given
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: CreatePayoutMethodInput!) { createPayoutMethod(input: $i) { errors { code path } } }",
        by=eve,
        i=asked,
    )
    errors = body.get("errors") or body["data"]["createPayoutMethod"]["errors"]
    found = [error.get("code") or error["extensions"]["code"] for error in errors]
    assert found in (["INVALID_INPUT"], ["BAD_REQUEST"]), (path, body)
    assert await world.fingerprint() == before
