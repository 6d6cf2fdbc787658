"""A world with a good input for every mutation, for tests that make one bad and change nothing."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from models import now
from models.enums import MemberRole
from tests.donation_world import Scene, done
from tests.factories import Person, World, money, of

LARGEST = "92233720368547758.07"
"""Of US dollars, in 64 bits of cents."""
MONEY = (
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
)


@dataclass
class Stage:
    """A world in which nothing changes."""

    scene: Scene
    boss: Person
    """ADMIN of the host, of webpack, of babel and of the platform, so that no right stands in the way."""
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A good input for each mutation."""
    ids: dict[str, str] = field(default_factory=dict)
    _statement: str = ""
    _seen: Any = None

    @property
    def world(self) -> World:
        """The world to ask in."""
        return self.scene.world

    def by(self, mutation: str) -> Person | None:
        """Return who may do a mutation."""
        if mutation in {"signUp", "signIn", "verifyEmail", "requestPasswordReset", "resetPassword"}:
            return None
        makers = {"approveOrder": self.scene.giver, "approveOrders": self.scene.giver}
        return (makers | {"cancelOrder": self.scene.payee}).get(mutation, self.boss)

    async def changed(self) -> bool:
        """Whether anything was stored since this was asked last."""
        before, self._seen = self._seen, await self._fingerprint()
        return bool(before != self._seen)

    async def _fingerprint(self) -> Any:
        """Return what `World.fingerprint` does, in one statement."""
        if not self._statement:
            tables = [table for table in await self.world.fingerprint() if table != "alembic_version"]
            self._statement = " UNION ALL ".join(
                f"(SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)) FROM \"{table}\" t)"
                for table in tables
            )
        async with self.world.sessions() as session:
            return (await session.execute(text(self._statement))).all()

    async def refused(self, mutation: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Ask with a good input changed; return the only error, wherever it stands; nothing is stored."""
        given = deepcopy(self.given[mutation]) | changes
        name = mutation[0].upper() + mutation[1:]
        errors = "errors { code message path }"
        fields = f"results {{ {errors} }} {errors}" if mutation == "approveOrders" else errors
        query = f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ {fields} }} }}"
        body = await self.world.execute(query, by=self.by(mutation), i=given)
        assert not await self.changed(), "something was stored"
        if "errors" in body:
            (error,) = body["errors"]
            return {"message": error["message"], "top": True, **error["extensions"]}
        payload = body["data"][mutation]
        found = payload["errors"] + [e for r in payload.get("results", []) for e in r["errors"]]
        (error,) = found
        return dict(error)

    async def asked(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run a query that has one error; return it."""
        body = await self.world.execute(query, by=self.boss, **variables)
        (error,) = body["errors"]
        return {"message": error["message"], **error["extensions"]}


async def made(world: World) -> Stage:
    """Make what the tests of a file share, in their world."""
    scene = await Scene.create(world)
    boss = await world.person("boss")
    for row in (scene.host, scene.webpack, scene.babel, world.platform):
        await world.member(row, boss, MemberRole.ADMIN)
    stage = Stage(scene, boss)
    await _more_collectives(stage)
    pending, approved = await scene.expense("3.00"), await scene.expense("2.00")
    done(await scene.approve(approved))
    paid = done(await scene.donate("5.00"))
    stage.ids |= {"pending": pending, "approved": approved, "paid": paid}
    stage.given = await _good(stage)
    await stage.changed()
    return stage


async def _more_collectives(stage: Stage) -> None:
    scene, world = stage.scene, stage.world
    gone = await world.community("gone", scene.host, stage.boss)
    gone.archived_at = now()
    await world.add(gone)
    starts = now() + timedelta(days=1)
    made = await world.do(
        "createEvent",
        "event { slug }",
        by=stage.boss,
        parent=of(scene.webpack),
        name="Meetup",
        startsAt=starts.isoformat(),
        endsAt=(starts + timedelta(hours=1)).isoformat(),
    )
    stage.ids["event"] = made["event"]["slug"]
    await world.community("yen", scene.host, stage.boss, currency="JPY")
    await world.community("euro", scene.host, stage.boss, currency="EUR")
    await world.rate("EUR", "USD", "1.1", days_ago=8)
    await world.community("nobodys", None, stage.boss)
    stage.ids["dear"] = await scene.method(bps=10_000, fixed="1.00")
    donor = await world.community("donor", await world.host("elsewhere", scene.holder), stage.boss)
    await world.fund(donor, "10.00", by=scene.holder)


async def _good(stage: Stage) -> dict[str, dict[str, Any]]:
    scene, world = stage.scene, stage.world
    webpack, babel, five = of(scene.webpack), of(scene.babel), money("5.00")
    asked = await world.do(
        "applyToHost",
        "application { id }",
        by=stage.boss,
        collective={"slug": "nobodys"},
        host=of(scene.host),
    )
    await world.community("homeless", None, stage.boss)
    starts, ends = now() + timedelta(days=1), now() + timedelta(days=2)
    return {
        "donate": {"from": webpack, "to": babel, "amount": five},
        "transferFunds": {"from": webpack, "to": babel, "amount": five},
        "addFunds": {"to": webpack, "amount": five},
        "submitExpense": {"from": webpack, "to": of(scene.payee), "amount": five},
        "approveOrder": {"id": stage.ids["pending"], "reason": "why not"},
        "approveOrders": {"ids": [stage.ids["pending"]]},
        "rejectOrder": {"id": stage.ids["pending"], "reason": "no"},
        "payOrder": {"id": stage.ids["approved"]},
        "cancelOrder": {"id": stage.ids["pending"]},
        "refundOrder": {"id": stage.ids["paid"]},
        "createCollective": {"type": "COMMUNITY", "name": "New", "slug": "brand-new", "currency": "USD"},
        "updateCollective": {"collective": {"slug": "homeless"}},
        "archiveCollective": {"collective": {"slug": "homeless"}},
        "createEvent": {
            "parent": webpack,
            "name": "Party",
            "startsAt": starts.isoformat(),
            "endsAt": ends.isoformat(),
        },
        "applyToHost": {"collective": {"slug": "homeless"}, "host": of(scene.host)},
        "decideHostApplication": {"id": asked["application"]["id"], "approve": False, "reason": "no"},
        "createPaymentMethod": {"host": of(scene.host), "name": "Card", "type": "BALANCE"},
        "createPayoutMethod": {
            "collective": webpack,
            "name": "Bank",
            "type": "BANK_ACCOUNT",
            "details": {"iban": "x"},
        },
        "signUp": {"email": "new@commonweal.test", "name": "New", "password": "long enough"},
        "signIn": {"email": "boss@commonweal.test", "password": "long enough"},
        "verifyEmail": {"token": "not one"},
        "requestPasswordReset": {"email": "new@commonweal.test"},
        "resetPassword": {"token": "not one", "password": "long enough"},
        "createAccessToken": {"name": "ci", "scopes": ["COLLECTIVES"], "expiresAt": ends.isoformat()},
        "inviteMember": {"collective": webpack, "role": "MEMBER", "email": "new@commonweal.test"},
        "followCollective": {"collective": babel},
        "setFxRate": {"from": "USD", "to": "JPY", "rate": "150"},
        "setPlatformPolicy": {"platformFeeBps": 100},
    }
