"""Host applications, their decision, host fees, and payment and payout methods."""

import asyncio
from typing import Any

import pytest

from models import Collective
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, error_codes, money, ref

APPLICATION = "application { id status message reason decidedAt collective { slug } host { slug } }"
METHOD = "paymentMethod { id type name feeBps feeFixed { minorUnits currency } host { slug } }"


async def applied(world: World, by: Person, collective: Collective, host: Collective) -> str:
    payload = await world.mutate(
        "applyToHost", APPLICATION, by=by, collective=ref(collective), host=ref(host)
    )
    assert payload["errors"] == [], payload
    return str(payload["application"]["id"])


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
async def test_an_accepted_application_sets_the_host_and_opens_the_balance(
    world: World, kind: CollectiveType
) -> None:
    ada, holder, _, host = await with_host(world)
    group = await world.community("group", None, ada, collective_type=kind, currency="EUR")
    payload = await world.mutate(
        "applyToHost", APPLICATION, by=ada, collective=ref(group), host=ref(host), message="Please"
    )
    application = payload["application"]
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
    listed = await world.query(waiting, by=holder)
    assert listed["collective"]["hostApplications"] == [{"id": application_id}]
    assert (
        await world.scalar("SELECT recipient FROM outbox WHERE template = 'host_application'") == holder.email
    )

    payload = await world.mutate(
        "decideHostApplication", APPLICATION, by=holder, id=application_id, approve=True
    )
    assert (payload["errors"], payload["application"]["status"]) == ([], "ACCEPTED")
    assert (await world.query(waiting, by=holder))["collective"]["hostApplications"] == []
    data = await world.query(
        '{ collective(slug: "group") { host { slug } hostApprovedAt members(role: HOST) '
        "{ nodes { member { slug } } } balances { currency posted { minorUnits } } } }"
    )
    assert data["collective"].pop("hostApprovedAt")
    assert data["collective"] == {
        "host": {"slug": "host"},
        "members": {"nodes": [{"member": {"slug": "host"}}]},
        "balances": [{"currency": "EUR", "posted": {"minorUnits": "0"}}],
    }
    opened = (
        "SELECT count(*) FROM ledger_account WHERE owner_id = :id AND currency = 'EUR' AND kind = 'BALANCE'"
    )
    assert await world.scalar(opened, id=group.id) == 1


async def test_a_rejected_application_needs_a_reason_and_changes_nothing(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    application_id = await applied(world, ada, club, host)
    for reason in (None, "", "  "):
        arguments: dict[str, Any] = {"id": application_id, "approve": False, "reason": reason}
        path = ["input", "reason"]
        await world.expect_problem("decideHostApplication", "INVALID_INPUT", path, by=holder, **arguments)
    payload = await world.mutate(
        "decideHostApplication", APPLICATION, by=holder, id=application_id, approve=False, reason="Too far"
    )
    assert (payload["application"]["status"], payload["application"]["reason"]) == ("DECLINED", "Too far")
    assert (await world.query('{ collective(slug: "club") { host { slug } } }'))["collective"]["host"] is None
    for approve in (True, False):
        arguments = {"id": application_id, "approve": approve, "reason": "x"}
        await world.expect_problem(
            "decideHostApplication", "INVALID_STATE", ["input", "id"], by=holder, **arguments
        )
    assert await applied(world, ada, club, host) != application_id


async def test_invalid_applications_are_refused(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    plain = await world.community("plain", None, holder, collective_type=CollectiveType.NONPROFIT)
    hosted = await world.community("hosted", host, ada)
    event = await world.mutate(
        "createEvent",
        "event { slug }",
        by=ada,
        parent=ref(club),
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
        arguments: dict[str, Any] = {"collective": {"slug": slug}, "host": ref(host)}
        await world.expect_problem("applyToHost", code, row, by=by, **arguments)
    for target in (plain, hosted, holder, club):
        arguments = {"collective": ref(club), "host": ref(target)}
        await world.expect_problem("applyToHost", "INVALID_INPUT", to, by=ada, **arguments)
    await applied(world, ada, club, host)
    other = await world.host("other")
    arguments = {"collective": ref(club), "host": ref(other)}
    await world.expect_problem("applyToHost", "CONFLICT", row, by=ada, **arguments)


async def test_exactly_one_of_many_concurrent_answers_counts(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    second = await world.person("second")
    await world.member(host, second, MemberRole.ADMIN)
    for turn in range(3):
        club = await world.community(f"club-{turn}", None, ada)
        application_id = await applied(world, ada, club, host)
        payloads = await asyncio.gather(
            *(
                world.mutate("decideHostApplication", by=by, id=application_id, approve=approve, reason="x")
                for by, approve in ((holder, True), (second, False), (second, True), (holder, False))
            )
        )
        results = sorted(str(error_codes(answer)[0][0]) if answer["errors"] else "" for answer in payloads)
        assert results == ["", *["INVALID_STATE"] * 3]
        members = "SELECT count(*) FROM member WHERE collective_id = :id AND role = 'HOST' AND until IS NULL"
        accepted = "SELECT count(*) FROM host_application WHERE collective_id = :id AND status = 'ACCEPTED'"
        hosted = "SELECT count(*) FROM collective WHERE id = :id AND host_id IS NOT NULL"
        assert len({await world.scalar(sql, id=club.id) for sql in (members, accepted, hosted)}) == 1


async def test_one_of_two_concurrent_applications_is_created(world: World) -> None:
    ada, _, club, host = await with_host(world)
    other = await world.host("other")
    payloads = await asyncio.gather(
        *(world.mutate("applyToHost", by=ada, collective=ref(club), host=ref(h)) for h in (host, other, host))
    )
    assert sorted(len(answer["errors"]) for answer in payloads) == [0, 1, 1]


@pytest.mark.parametrize("archived", ["club", "host"])
async def test_an_application_cannot_be_accepted_after_either_side_is_archived(
    world: World, archived: str
) -> None:
    ada, holder, club, host = await with_host(world)
    application_id = await applied(world, ada, club, host)
    by = ada if archived == "club" else holder
    payload = await world.mutate("archiveCollective", by=by, collective={"slug": archived})
    assert payload["errors"] == []
    arguments: dict[str, Any] = {"id": application_id, "approve": True}
    await world.expect_problem(
        "decideHostApplication", "INVALID_STATE", ["input", "id"], by=holder, **arguments
    )


async def fees(world: World, club: Collective, holder: Person) -> int:
    """Return the host's fee of 100.00 added to the club, in minor units."""
    fields = "order { transactions { hostFeeInHostCurrency { minorUnits } } }"
    payload = await world.mutate("addFunds", fields, by=holder, to=ref(club), amount=money("100.00"))
    assert payload["errors"] == [], payload
    return int(payload["order"]["transactions"][0]["hostFeeInHostCurrency"]["minorUnits"])


async def test_the_hosts_fee_is_its_own_rate_or_the_one_it_sets_for_a_collective(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club = await world.community("hosted", host, ada)
    assert await fees(world, club, holder) == 500
    for bps, expected in ((250, 250), (0, 0), (10_000, None), (None, 500)):
        payload = await world.mutate("updateCollective", by=holder, collective=ref(club), hostFeeBps=bps)
        assert payload["errors"] == []
        if expected is not None:
            assert await fees(world, club, holder) == expected
    await world.mutate("updateCollective", by=holder, collective=ref(host), hostFeeBps=700)
    assert await fees(world, club, holder) == 700
    assert await fees(world, host, holder) == 0
    for bps in (-1, 10_001):
        for mutation, arguments in (
            ("updateCollective", {"collective": ref(club)}),
            ("addFunds", {"to": ref(club), "amount": money("1.00")}),
        ):
            path = ["input", "hostFeeBps"]
            await world.expect_problem(
                mutation, "INVALID_INPUT", path, by=holder, hostFeeBps=bps, **arguments
            )


async def test_a_collective_does_not_set_its_own_fee_before_it_is_hosted(world: World) -> None:
    ada, holder, club, host = await with_host(world)
    body = await world.execute(
        "mutation($i: UpdateCollectiveInput!) { updateCollective(input: $i) { errors { code } } }",
        by=ada,
        i={"collective": ref(club), "hostFeeBps": 0},
    )
    application_id = await applied(world, ada, club, host)
    await world.mutate("decideHostApplication", by=holder, id=application_id, approve=True)
    assert await fees(world, club, holder) == 500, body


async def test_a_hosts_payment_methods_are_public_and_used_by_id(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club = await world.community("hosted", host, ada)
    other = await world.host("other", ada)
    payload = await world.mutate(
        "createPaymentMethod",
        METHOD,
        by=holder,
        host=ref(host),
        name="Card",
        type="MANUAL",
        feeBps=290,
        feeFixed=money("0.30"),
    )
    method = payload["paymentMethod"]
    assert method == {
        "id": method["id"],
        "type": "MANUAL",
        "name": "Card",
        "feeBps": 290,
        "feeFixed": {"minorUnits": "30", "currency": "USD"},
        "host": {"slug": "host"},
    }
    data = await world.query(
        'query($i: ID!) { node(id: $i) { ... on PaymentMethod { name } } collective(slug: "host") '
        "{ ... on Organization { paymentMethods { id } } } }",
        i=method["id"],
    )
    assert data == {"node": {"name": "Card"}, "collective": {"paymentMethods": [{"id": method["id"]}]}}
    donation: dict[str, Any] = {"from": ref(ada), "amount": money("10.00"), "paymentMethod": method["id"]}
    result = await world.mutate(
        "donate", "order { status paymentMethod { id } }", by=ada, to=ref(club), **donation
    )
    assert result["order"] == {"status": "PENDING", "paymentMethod": {"id": method["id"]}}
    path = ["input", "paymentMethod"]
    await world.expect_problem("donate", "NOT_FOUND", path, by=ada, to=ref(other), **donation)
    for wrong in ("card", payload["paymentMethod"]["id"].replace("pay_", "out_"), ""):
        arguments = donation | {"paymentMethod": wrong}
        await world.expect_problem("donate", "INVALID_INPUT", path, by=ada, to=ref(club), **arguments)


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
async def test_an_invalid_payment_method_is_refused(
    world: World, given: dict[str, Any], path: list[str]
) -> None:
    _, holder, _, host = await with_host(world)
    await world.community("plain", None, holder, collective_type=CollectiveType.NONPROFIT)
    request: dict[str, Any] = {"host": ref(host), "name": "Card", "type": "BALANCE"} | given
    await world.expect_problem("createPaymentMethod", "INVALID_INPUT", ["input", *path], by=holder, **request)


async def test_a_payout_method_is_visible_to_its_payee_only(world: World) -> None:
    ada, holder, _, host = await with_host(world)
    club, eve = await world.community("hosted", host, ada), await world.person("eve")
    payload = await world.mutate(
        "createPayoutMethod",
        "payoutMethod { id type name details }",
        by=eve,
        collective=ref(eve),
        name="Bank",
        type="BANK_ACCOUNT",
        details={"iban": "de89 3704 0044 0532 0130 00", "holder": "Eve"},
    )
    method = payload["payoutMethod"]
    assert (method["type"], method["details"]) == (
        "BANK_ACCOUNT",
        {"iban": "DE89370400440532013000", "holder": "Eve"},
    )
    bill: dict[str, Any] = {"from": ref(club), "amount": money("1.00"), "payoutMethod": method["id"]}
    result = await world.mutate("submitExpense", "order { payoutMethodType }", by=eve, to=ref(eve), **bill)
    assert result["order"] == {"payoutMethodType": "BANK_ACCOUNT"}
    await world.expect_problem(
        "submitExpense", "NOT_FOUND", ["input", "payoutMethod"], by=holder, to=ref(holder), **bill
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
        ({"details": {"iban": "not an iban"}}, "details"),
        ({"details": {"IBAN": "DE89370400440532013001"}}, "details"),
        ({"details": {"bic": "DEUT"}}, "details"),
        ({"details": {"iban": "x" * 201}}, "details"),
        ({"details": {"iban": "\x07"}}, "details"),
        ({"details": ["iban"]}, "details"),
        ({"details": "iban"}, "details"),
        ({"details": {"iban": {"nested": "x"}}}, "details"),
    ],
)
async def test_an_invalid_payout_method_is_refused(world: World, given: dict[str, Any], path: str) -> None:
    eve = await world.person("eve")
    request: dict[str, Any] = {
        "collective": ref(eve),
        "name": "Bank",
        "type": "OTHER",
        "details": {"iban": "DE89370400440532013000"},
    } | given
    before = await world.fingerprint()
    body = await world.execute(
        "mutation($i: CreatePayoutMethodInput!) { createPayoutMethod(input: $i) { errors { code path } } }",
        by=eve,
        i=request,
    )
    errors = body.get("errors") or body["data"]["createPayoutMethod"]["errors"]
    results = [error.get("code") or error["extensions"]["code"] for error in errors]
    assert results in (["INVALID_INPUT"], ["BAD_REQUEST"]), (path, body)
    assert await world.fingerprint() == before
