"""A nonprofit that issues currents, its event, and people who come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from models import Collective, new_id, now
from models.enums import MemberRole
from tests.factories import Person, World, of
from tests.hours_world import issuer

if TYPE_CHECKING:
    from datetime import datetime

MEMBER = "member { id role since member { slug } collective { slug } }"
ORDER = """order { id status type from { slug } to { slug } event { slug } amount { value currency }
    approvedAmount { value } description actions { type toStatus } transactions { kind amount { value } } }"""
COUNTS = """query($s: String!) { collective(slug: $s) { ... on Event {
    registrationCount waitingCount isCancelled coordinator { slug } } } }"""


@dataclass
class EventScene:
    """Chris is ADMIN of the nonprofit; volunteers are made when first named."""

    world: World
    nonprofit: Collective
    chris: Person
    suffix: str
    people: dict[str, Person] = field(default_factory=dict)

    @classmethod
    async def create(cls, world: World) -> EventScene:
        """Make a nonprofit that may issue, in a world that has others."""
        suffix = f"-{new_id().hex[-12:]}"
        chris = await world.person("chris" + suffix)
        return cls(world, await issuer(world, "greatdeeds" + suffix, chris), chris, suffix)

    async def person(self, name: str, *, claimed: bool = True) -> Person:
        """Return somebody by name."""
        if name not in self.people:
            self.people[name] = await self.world.person(name + self.suffix, claimed=claimed)
        return self.people[name]

    async def event(
        self,
        *,
        starts: float = 24,
        hours: float = 2,
        by: Person | None = None,
        parent: Collective | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Make an event that starts in so many hours; return a CollectiveRef."""
        made = await self.world.do(
            "createEvent",
            "event { slug }",
            by=by or self.chris,
            parent=of(parent or self.nonprofit),
            **{"name": "Cleanup", **times(starts, hours), **more},
        )
        assert made["errors"] == [], made
        return {"slug": made["event"]["slug"]}

    async def register(self, event: dict[str, Any], *names: str) -> list[str]:
        """Register people one after the other; return their roles."""
        found = []
        for name in names:
            done = await self.world.do("registerForEvent", MEMBER, by=await self.person(name), event=event)
            assert done["errors"] == [], done
            found.append(done["member"]["role"])
        return found

    async def roles(self, event: dict[str, Any]) -> dict[str, str]:
        """Return who attends and who waits, by name, as an ADMIN sees it."""
        query = """query($s: String!) { collective(slug: $s) {
            members(role: [ATTENDEE, WAITING], first: 100) { nodes { role member { slug } } } } }"""
        found = await self.world.ask(query, by=self.chris, s=event["slug"])
        return {
            row["member"]["slug"].removesuffix(self.suffix): row["role"]
            for row in found["collective"]["members"]["nodes"]
        }

    async def counts(self, event: dict[str, Any]) -> tuple[int, int]:
        """Return how many are registered and how many wait."""
        found = (await self.world.ask(COUNTS, s=event["slug"]))["collective"]
        return found["registrationCount"], found["waitingCount"]

    async def check_in(
        self, event: dict[str, Any], who: Person, *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Check somebody in as the nonprofit's ADMIN; return the payload."""
        return await self.world.do(
            "checkIn", f"{ORDER} {MEMBER}", by=by or self.chris, event=event, user=of(who), **more
        )

    async def check_out(
        self, event: dict[str, Any], who: Person, *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Check somebody out as the nonprofit's ADMIN; return the payload."""
        return await self.world.do("checkOut", ORDER, by=by or self.chris, event=event, user=of(who), **more)

    async def admin(self, row: Collective, name: str) -> Person:
        """Make somebody an ADMIN."""
        person = await self.person(name)
        await self.world.member(row, person, MemberRole.ADMIN)
        return person

    async def mails(self, template: str, **payload: str) -> list[str]:
        """Return who got a mail of this scene's, by name, in order."""
        sql = "SELECT coalesce(array_agg(recipient ORDER BY recipient), '{}') FROM outbox WHERE template = :t"
        values = {"t": template, "like": f"%{self.suffix}@%"}
        sql += " AND recipient LIKE :like"
        for name, text in payload.items():
            sql += f" AND payload ->> '{name}' = :{name}"
            values[name] = text
        found = await self.world.scalar(sql, **values)
        return [address.removesuffix(f"{self.suffix}@commonweal.test") for address in found]

    async def currents(self, who: Person) -> int:
        """Return how many currents somebody has, in minor units."""
        found = await self.world.scalar(
            "SELECT coalesce(sum(posted), 0) FROM ledger_account WHERE owner_id = :id AND kind = 'BALANCE'"
            " AND currency = 'CUR'",
            id=who.user.id,
        )
        return int(found)

    async def issued(self, row: Collective) -> int:
        """Return how many currents a nonprofit has issued, in minor units."""
        found = await self.world.scalar(
            "SELECT coalesce(-sum(posted), 0) FROM ledger_account WHERE owner_id = :id AND kind = 'ISSUANCE'",
            id=row.id,
        )
        return int(found)

    async def refused(self, mutation: str, code: str, path: str, *, by: Person, **given: Any) -> None:
        """Assert that a mutation is refused with one code and path, and changes nothing."""
        before = await self.world.fingerprint()
        done = await self.world.do(mutation, by=by, **given)
        assert [(e["code"], e["path"]) for e in done["errors"]] == [(code, ["input", *path.split(".")])]
        assert await self.world.fingerprint() == before

    async def forbidden(
        self, mutation: str, *, by: Person | None, code: str = "FORBIDDEN", **given: Any
    ) -> None:
        """Assert that a mutation is denied at the top level and changes nothing."""
        before = await self.world.fingerprint()
        name = mutation[0].upper() + mutation[1:]
        body = await self.world.execute(
            f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}", by=by, i=given
        )
        assert [e["extensions"]["code"] for e in body["errors"]] == [code]
        assert await self.world.fingerprint() == before


def times(starts: float, hours: float = 2) -> dict[str, str]:
    """Return when an event is that starts in so many hours."""
    first: datetime = now() + timedelta(hours=starts)
    return {"startsAt": first.isoformat(), "endsAt": (first + timedelta(hours=hours)).isoformat()}
