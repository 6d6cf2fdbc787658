"""Sessions are confirmed again, within 10 minutes, before what matters; access tokens have scopes instead."""

from typing import Any

import pytest

from models.enums import Scope
from schema.execution import unit_of_work
from services.access.permission_rules import CONFIRMED, CONFIRMED_ABOVE, RULES, platform_admin
from services.access.permissions import Action
from services.core.errors import Busy
from services.identity import passwords
from tests.donation_world import DonationScene
from tests.factor_world import (
    PASSWORD,
    age_confirmation,
    code_of,
    run,
    top_error,
    with_app,
    with_passkey,
    with_password,
)
from tests.factories import Person, World, error_codes, money, ref
from tests.hours_world import HoursScene, yesterday

TOKEN = {"name": "ci", "scopes": ["READ"], "expiresAt": "2027-01-01T00:00Z"}
CREATE = "mutation($i: CreateAccessTokenInput!) { createAccessToken(input: $i) { errors { code } } }"


async def create_token(world: World, by: Person | str) -> dict[str, Any]:
    return await world.execute(CREATE, by=by, i=TOKEN)


def test_what_only_the_platform_may_do_is_confirmed_and_so_is_every_refund_and_payment() -> None:
    platform = {
        action
        for action, (scope, rules) in RULES.items()
        if rules == (platform_admin,) and scope is not Scope.READ
    }
    rejections = {Action.REJECT_CASH_OUT}
    moving = {action for action in Action if action.startswith(("refundOrder", "payOrder"))}
    assert (platform | moving) - rejections <= CONFIRMED
    assert not CONFIRMED & CONFIRMED_ABOVE
    approvals = {action for action in Action if action.startswith("approveOrder")}
    assert approvals <= CONFIRMED | CONFIRMED_ABOVE


async def test_an_old_session_is_asked_for_the_password(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    assert "errors" not in await create_token(world, ada)
    await age_confirmation(world, ada, minutes=9)
    assert "errors" not in await create_token(world, ada)
    await age_confirmation(world, ada)
    before = await world.fingerprint()
    assert top_error(await create_token(world, ada)) == {
        "code": "CONFIRMATION_REQUIRED",
        "ways": ["PASSWORD"],
    }
    wrong = await world.mutate("confirmSession", by=ada, password="wrong horse")
    assert error_codes(wrong) == [("INVALID_INPUT", ["input", "password"])]
    code = await world.mutate("confirmSession", by=ada, code="123456")
    assert error_codes(code) == [("INVALID_INPUT", ["input", "code"])]
    after = await world.fingerprint()
    changed = {table for table in after if after[table] != before[table]}
    assert changed <= {"throttle"}
    payload = await world.mutate("confirmSession", "session { isCurrent }", by=ada, password=PASSWORD)
    assert payload == {"session": {"isCurrent": True}, "errors": []}
    assert "errors" not in await create_token(world, ada)


async def test_a_sign_in_confirms_and_other_sessions_stay_unconfirmed(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await age_confirmation(world, ada)
    payload = await world.mutate("signIn", "session { token }", email=ada.email, password=PASSWORD)
    assert "errors" not in await create_token(world, payload["session"]["token"])
    assert top_error(await create_token(world, ada))["code"] == "CONFIRMATION_REQUIRED"


async def test_a_confirmation_holds_within_its_operation(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await age_confirmation(world, ada)
    body = await world.execute(
        "mutation($c: ConfirmSessionInput!, $i: CreateAccessTokenInput!) {"
        " confirmSession(input: $c) { errors { code } } createAccessToken(input: $i) { errors { code } } }",
        by=ada,
        c={"password": PASSWORD},
        i=TOKEN,
    )
    assert "errors" not in body


async def test_who_has_a_factor_confirms_with_it_and_not_with_the_password(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    secret, codes = await with_app(world, ada)
    passkey, more = await with_passkey(world, ada)
    assert more == []
    ways = ["TOTP", "PASSKEY", "RECOVERY_CODE"]
    proofs: list[dict[str, str]] = [{"code": code_of(secret)}, {"recoveryCode": codes[0]}]
    options = (await run(world, "beginPasskeyConfirmation", "options", by=ada))["options"]
    proofs.append({"passkey": passkey.sign(options)})
    for proof in proofs:
        await age_confirmation(world, ada)
        assert top_error(await create_token(world, ada))["ways"] == ways
        refused = await world.mutate("confirmSession", by=ada, password=PASSWORD)
        assert error_codes(refused) == [("INVALID_INPUT", ["input", "password"])]
        assert (await world.mutate("confirmSession", by=ada, **proof))["errors"] == []
        assert "errors" not in await create_token(world, ada)
        await age_confirmation(world, ada)
        replayed = await world.mutate("confirmSession", by=ada, **proof)
        assert [e["code"] for e in replayed["errors"]] == ["INVALID_INPUT"]


async def test_wrong_passwords_are_counted(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    codes = [
        error_codes(await world.mutate("confirmSession", by=ada, password=f"wrong {i}"))[0][0]
        for i in range(11)
    ]
    assert codes == ["INVALID_INPUT"] * 10 + ["RATE_LIMITED"]


async def test_wrong_passwords_are_counted_from_all_networks_and_apart_from_sign_ins(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)

    async def confirmed(password: str, network: int) -> list[str]:
        request = unit_of_work.OperationRequest(
            query="mutation($i: ConfirmSessionInput!) { confirmSession(input: $i) { errors { code } } }",
            variables={"i": {"password": password}},
            token=ada.token,
            address=f"192.0.2.{network}",
        )
        answer = await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)
        return [error["code"] for error in answer.body["data"]["confirmSession"]["errors"]]

    assert await confirmed("wrong", 100) == ["INVALID_INPUT"]
    assert await confirmed(PASSWORD, 101) == []  # forgets the one before
    codes = [await confirmed(f"wrong {network}", network) for network in range(11)]
    assert codes == [["INVALID_INPUT"]] * 10 + [["RATE_LIMITED"]]
    arguments = {"currentPassword": PASSWORD, "newPassword": "another long one"}
    refused = await world.mutate("changePassword", by=ada, **arguments)
    assert error_codes(refused) == [("RATE_LIMITED", ["input", "currentPassword"])]
    assert (await world.mutate("signIn", by=None, email=ada.email, password=PASSWORD))["errors"] == []


async def test_who_is_refused_because_others_sign_in_has_not_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)

    async def busy(*_: object) -> bool:
        raise Busy(retry_after_seconds=1)

    with monkeypatch.context() as patch:
        patch.setattr(passwords, "verify_password", busy)
        await world.execute(
            "mutation($i: ConfirmSessionInput!) { confirmSession(input: $i) { errors { code } } }",
            by=ada,
            i={"password": PASSWORD},
        )
    assert await world.scalar("SELECT max(attempts) FROM throttle WHERE key LIKE 'own-password%'") == 0


async def test_an_account_without_a_password_confirms_by_signing_in(world: World) -> None:
    ada = await world.person("ada")
    payload = await world.mutate("confirmSession", by=ada, password=PASSWORD)
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "password"])]
    assert "Sign in again" in payload["errors"][0]["message"]


async def test_an_access_token_is_not_asked_and_cannot_confirm(world: World) -> None:
    ada = await world.person("ada")
    await with_password(world, ada)
    await age_confirmation(world, ada)
    token = await world.access_token(ada, "READ", "COLLECTIVES")
    await age_confirmation(world, ada)
    assert "errors" not in await create_token(world, token)
    query = "mutation($i: ConfirmSessionInput!) { confirmSession(input: $i) { errors { code } } }"
    assert top_error(await world.execute(query, by=token, i={"password": PASSWORD}))["code"] == "FORBIDDEN"


@pytest.mark.parametrize(("value", "is_asked"), [("100.00", False), ("100.01", True)])
async def test_approving_above_the_policys_amount_is_confirmed(
    world: World, value: str, is_asked: bool
) -> None:
    scene = await DonationScene.create(world, funds="1000.00")
    made = await world.mutate(
        "submitExpense",
        "order { id }",
        by=scene.payee,
        to=ref(scene.payee),
        amount=money(value),
        **{"from": ref(scene.webpack)},
    )
    await age_confirmation(world, scene.giver)
    before = await world.fingerprint()
    query = (
        "mutation($i: ApproveOrderInput!) { approveOrder(input: $i) { order { status } errors { code } } }"
    )
    body = await world.execute(query, by=scene.giver, i={"id": made["order"]["id"]})
    if is_asked:
        assert top_error(body)["code"] == "CONFIRMATION_REQUIRED"
        assert await world.fingerprint() == before
    else:
        assert body["data"]["approveOrder"]["order"] == {"status": "APPROVED"}


async def test_giving_above_the_policys_amount_is_confirmed_and_the_policy_says_how_much(
    world: World,
) -> None:
    scene = await DonationScene.create(world, funds="1000.00")
    policy = await world.mutate(
        "setPlatformPolicy",
        "policy { confirmAbove { value currency } }",
        by=world.admin,
        confirmAbove=money("60.00"),
    )
    assert policy["policy"] == {"confirmAbove": {"value": "60.00", "currency": "USD"}}
    jump = await world.mutate("setPlatformPolicy", by=world.admin, confirmAbove=money("500.00"))
    assert error_codes(jump) == [("INVALID_INPUT", ["input", "confirmAbove"])]
    await age_confirmation(world, scene.giver)
    sides = {"from": ref(scene.webpack), "to": ref(scene.babel)}
    for mutation, name in (("donate", "Donate"), ("transferFunds", "TransferFunds")):
        query = f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}"
        small = await world.execute(query, by=scene.giver, i={**sides, "amount": money("60.00")})
        assert small["data"][mutation] == {"errors": []}
        before = await world.fingerprint()
        large = await world.execute(query, by=scene.giver, i={**sides, "amount": money("60.01")})
        assert top_error(large)["code"] == "CONFIRMATION_REQUIRED"
        assert await world.fingerprint() == before


async def test_many_hours_at_once_are_confirmed_by_their_amounts(world: World) -> None:
    scene = await HoursScene.create(world)
    orders = [
        (await scene.log(hours, start=yesterday(start)))["order"]["id"]
        for hours, start in ((1, 1), (2, 3), (6, 6))
    ]
    await age_confirmation(world, scene.chris)
    query = "mutation($i: ApproveOrdersInput!) { approveOrders(input: $i) { results { errors { code } } } }"
    before = await world.fingerprint()
    body = await world.execute(query, by=scene.chris, i={"ids": orders})
    assert top_error(body) == {"code": "CONFIRMATION_REQUIRED", "ways": ["PASSWORD"]}
    assert await world.fingerprint() == before
    small = await world.execute(query, by=scene.chris, i={"ids": orders[:2]})
    assert small["data"]["approveOrders"]["results"] == [{"errors": []}] * 2
