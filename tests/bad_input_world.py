"""A scene with a valid input for every mutation, for tests that spoil one and expect nothing stored."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from models import now
from models.enums import CollectiveType, MemberRole
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, money, ref

LARGEST_USD = "92233720368547758.07"
"""The largest amount of US dollars whose cents fit into 64 bits."""
OPEN_TO_ALL = {
    "donateAsGuest",
    "signUp",
    "verifyEmail",
    "signIn",
    "requestPasswordReset",
    "resetPassword",
    "confirmEmailChange",
    "undoEmailChange",
    "beginProviderSignIn",
    "completeProviderSignIn",
    "linkProvedIdentity",
    "completeSignIn",
    "beginPasskeySignIn",
    "signInWithPasskey",
}
MONEY_MUTATIONS = (
    "donate",
    "transferFunds",
    "addFunds",
    "submitExpense",
    "approveOrder",
    "approveOrders",
    "rejectOrder",
    "payOrder",
    "cancelOrder",
    "refundOrder",
    "updateExpense",
    "confirmContribution",
    "denyContribution",
    "settleHosts",
)


@dataclass
class BadInputScene:
    """A donation scene with valid inputs; every refused mutation must leave it unchanged."""

    base: DonationScene
    boss: Person
    """ADMIN of the host, of webpack, of babel and of the platform, so that permissions refuse nothing."""
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A valid input for each mutation."""
    ids: dict[str, str] = field(default_factory=dict)
    _statement: str = ""
    _fingerprint_before: Any = None

    @property
    def world(self) -> World:
        """The world of the scene."""
        return self.base.world

    def by(self, mutation: str) -> Person | None:
        """Return a person who may run a mutation, or None for an anonymous one."""
        if mutation in OPEN_TO_ALL:
            return None
        giver, payee = self.base.giver, self.base.payee
        makers = {"approveOrder": giver, "approveOrders": giver, "cancelOrder": payee}
        makers |= dict.fromkeys(("updateExpense", "confirmContribution", "denyContribution"), payee)
        return makers.get(mutation, self.boss)

    async def has_changed(self) -> bool:
        """Return True if anything was stored since the previous call."""
        before, self._fingerprint_before = self._fingerprint_before, await self._fingerprint()
        return bool(before != self._fingerprint_before)

    async def _fingerprint(self) -> Any:
        """Compute the same as `World.fingerprint`, in one statement."""
        if not self._statement:
            tables = [table for table in await self.world.fingerprint() if table != "alembic_version"]
            self._statement = " UNION ALL ".join(
                f"(SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)) FROM \"{table}\" t)"
                for table in tables
            )
        async with self.world.sessions() as session:
            return (await session.execute(text(self._statement))).all()

    async def expect_problem(self, mutation: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Run a mutation with its input changed; return its only error; nothing may be stored."""
        arguments = deepcopy(self.inputs[mutation]) | changes
        name = mutation[0].upper() + mutation[1:]
        errors = "errors { code message path }"
        fields = f"results {{ {errors} }} {errors}" if mutation == "approveOrders" else errors
        query = f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {fields} }} }}"
        body = await self.world.execute(query, by=self.by(mutation), i=arguments)
        assert not await self.has_changed(), "something was stored"
        if "errors" in body:
            (error,) = body["errors"]
            return {"message": error["message"], "top": True, **error["extensions"]}
        payload = body["data"][mutation]
        result = payload["errors"] + [e for r in payload.get("results", []) for e in r["errors"]]
        (error,) = result
        return dict(error)

    async def expect_query_error(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run a query that fails with one error; return the error."""
        body = await self.world.execute(query, by=self.boss, **variables)
        (error,) = body["errors"]
        return {"message": error["message"], **error["extensions"]}


async def create_bad_input_scene(world: World) -> BadInputScene:
    """Create the scene that the tests of a file share."""
    base = await DonationScene.create(world)
    boss = await world.person("boss")
    for row in (base.host, base.webpack, base.babel, world.platform):
        await world.member(row, boss, MemberRole.ADMIN)
    scene = BadInputScene(base, boss)
    await _add_collectives(scene)
    pending, approved = await base.expense("3.00"), await base.expense("2.00")
    expect_order(await base.approve(approved))
    paid = expect_order(await base.donate("5.00"))
    payload = await world.mutate(
        "addFunds",
        "order { id }",
        by=boss,
        to=ref(base.webpack),
        amount=money("1.00"),
        **{"from": ref(base.payee)},
    )
    claimed = expect_order(payload)
    scene.ids |= {"pending": pending, "approved": approved, "paid": paid, "claimed": claimed}
    scene.inputs = await _good_inputs(scene)
    await scene.has_changed()
    return scene


async def _add_collectives(scene: BadInputScene) -> None:
    base, world = scene.base, scene.world
    gone = await world.community("gone", base.host, scene.boss)
    gone.archived_at = now()
    await world.add(gone)
    starts = now() + timedelta(days=1)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=scene.boss,
        parent=ref(base.webpack),
        name="Meetup",
        startsAt=starts.isoformat(),
        endsAt=(starts + timedelta(hours=1)).isoformat(),
    )
    scene.ids["event"] = payload["event"]["slug"]
    await world.community("yen", base.host, scene.boss, currency="JPY")
    await world.community("euro", base.host, scene.boss, currency="EUR")
    await world.rate("EUR", "USD", "1.1", days_ago=8)
    await world.community("nobodys", None, scene.boss)
    scene.ids["dear"] = await base.method(bps=10_000, fixed="1.00")
    await _add_methods(scene)
    donor = await world.community("donor", await world.host("elsewhere", base.holder), scene.boss)
    await world.fund(donor, "10.00", by=base.holder)
    expect_order(await base.donate("2.00", to=donor))  # which the host now owes to the donor's host


async def _add_methods(scene: BadInputScene) -> None:
    """Create two payment methods and two payout methods, one to change and one to archive."""
    for name in ("changed", "archived"):
        scene.ids[f"{name}_payment_method"] = await scene.base.method(bps=1)
        payload = await scene.world.mutate(
            "createPayoutMethod",
            "payoutMethod { id }",
            by=scene.boss,
            collective=ref(scene.base.webpack),
            name=name,
            type="OTHER",
            details={},
        )
        scene.ids[f"{name}_payout_method"] = payload["payoutMethod"]["id"]


async def _good_inputs(scene: BadInputScene) -> dict[str, dict[str, Any]]:
    base, world = scene.base, scene.world
    webpack, babel, five = ref(base.webpack), ref(base.babel), money("5.00")
    payload = await world.mutate(
        "applyToHost",
        "application { id }",
        by=scene.boss,
        collective={"slug": "nobodys"},
        host=ref(base.host),
    )
    await world.community("homeless", None, scene.boss)
    nonprofit = CollectiveType.NONPROFIT
    await world.community("would-be", None, scene.boss, collective_type=nonprofit)
    asking = await world.community("asking", None, scene.boss, collective_type=nonprofit)
    asked = await world.mutate("applyAsHost", "application { id }", by=scene.boss, collective=ref(asking))
    invited = await world.mutate(
        "inviteMember",
        "invitation { id }",
        by=scene.boss,
        collective=webpack,
        role="MEMBER",
        email="invited@commonweal.test",
    )
    starts, ends = now() + timedelta(days=1), now() + timedelta(days=2)
    return {
        "donate": {"from": webpack, "to": babel, "amount": five},
        "transferFunds": {"from": webpack, "to": babel, "amount": five},
        "addFunds": {"to": webpack, "amount": five},
        "submitExpense": {"from": webpack, "to": ref(base.payee), "amount": five},
        "approveOrder": {"id": scene.ids["pending"], "reason": "why not"},
        "approveOrders": {"ids": [scene.ids["pending"]]},
        "rejectOrder": {"id": scene.ids["pending"], "reason": "no"},
        "payOrder": {"id": scene.ids["approved"]},
        "cancelOrder": {"id": scene.ids["pending"]},
        "refundOrder": {"id": scene.ids["paid"]},
        "updateExpense": {"id": scene.ids["pending"], "amount": five},
        "confirmContribution": {"id": scene.ids["claimed"]},
        "denyContribution": {"id": scene.ids["claimed"], "reason": "not mine"},
        "createCollective": {"type": "COMMUNITY", "name": "New", "slug": "brand-new", "currency": "USD"},
        "updateCollective": {"collective": {"slug": "homeless"}},
        "archiveCollective": {"collective": {"slug": "homeless"}},
        "createEvent": {
            "parent": webpack,
            "name": "Party",
            "startsAt": starts.isoformat(),
            "endsAt": ends.isoformat(),
        },
        "applyToHost": {"collective": {"slug": "homeless"}, "host": ref(base.host)},
        "decideHostApplication": {"id": payload["application"]["id"], "approve": False, "reason": "no"},
        "withdrawHostApplication": {"id": payload["application"]["id"]},
        "leaveHost": {"collective": {"slug": "yen"}, "reason": "moving on"},
        "moveToHost": {"collective": {"slug": "euro"}, "host": {"slug": "elsewhere"}, "message": "please"},
        "applyAsHost": {"collective": {"slug": "would-be"}, "message": "Please"},
        "decideHost": {"id": asked["application"]["id"], "approve": False, "reason": "no"},
        "suspendHost": {"host": ref(base.host), "reason": "a reason"},
        "unarchiveCollective": {"collective": {"slug": "gone"}},
        "withdrawInvitation": {"id": invited["invitation"]["id"]},
        "createPaymentMethod": {"host": ref(base.host), "name": "Card", "type": "BALANCE"},
        "createPayoutMethod": {
            "collective": webpack,
            "name": "Bank",
            "type": "BANK_ACCOUNT",
            "details": {"account": "x"},
        },
        "donateAsGuest": {
            "email": "guest@commonweal.test",
            "name": "Guest",
            "to": ref(base.babel),
            "amount": money("1.00"),
            "payWith": {"type": "MANUAL"},
        },
        "connectHost": {"host": ref(base.host), "provider": "FAKE"},
        "updatePaymentMethod": {"id": scene.ids["changed_payment_method"], "feeBps": 10},
        "archivePaymentMethod": {"id": scene.ids["archived_payment_method"]},
        "updatePayoutMethod": {"id": scene.ids["changed_payout_method"], "details": {"account": "y"}},
        "archivePayoutMethod": {"id": scene.ids["archived_payout_method"]},
        "signUp": {"email": "new@commonweal.test", "name": "New"},
        "signIn": {"email": "boss@commonweal.test", "password": "long enough"},
        "verifyEmail": {"token": "not one", "password": "long enough"},
        "changePassword": {"currentPassword": "long enough", "newPassword": "longer still"},
        "endSession": {"id": "not one"},
        "eraseMe": {"slug": "not mine"},
        "completeSignIn": {"challenge": "none", "code": "123456"},
        "confirmSession": {"password": "long enough"},
        "activateTotp": {"code": "123456"},
        "beginPasskeySignIn": {"challenge": "none"},
        "signInWithPasskey": {"credential": "none"},
        "registerPasskey": {"credential": "none", "name": "Phone"},
        "renamePasskey": {"id": "not one", "name": "Phone"},
        "removePasskey": {"id": "not one"},
        "requireSecondFactor": {"collective": webpack, "isRequired": False},
        "changeEmail": {"email": "fresh@commonweal.test"},
        "confirmEmailChange": {"token": "not one"},
        "undoEmailChange": {"token": "not one"},
        "beginProviderSignIn": {"provider": "none"},
        "completeProviderSignIn": {"provider": "none", "state": "none", "code": "none"},
        "linkProvedIdentity": {"provider": "none", "state": "none", "password": "none"},
        "unlinkIdentity": {"id": "not one"},
        "suspendUser": {"user": ref(base.payee), "reason": "a reason"},
        "reinstateUser": {"user": ref(base.payee)},
        "retryJob": {"id": "not one"},
        "requestPasswordReset": {"email": "new@commonweal.test"},
        "resetPassword": {"token": "not one", "password": "long enough"},
        "createAccessToken": {"name": "ci", "scopes": ["COLLECTIVES"], "expiresAt": ends.isoformat()},
        "inviteMember": {"collective": webpack, "role": "MEMBER", "email": "new@commonweal.test"},
        "followCollective": {"collective": babel},
        "setClearingLimit": {"host": ref(base.host), "counterpart": {"slug": "elsewhere"}, "amount": five},
        "settleHosts": {
            "from": ref(base.host),
            "to": {"slug": "elsewhere"},
            "amount": money("1.00"),
            "reference": "x",
        },
        "setApprovalPolicy": {"collective": webpack, "amount": five},
        "setFxRate": {"from": "USD", "to": "JPY", "rate": "150"},
        "setPlatformPolicy": {"platformFeeBps": 100},
    }
