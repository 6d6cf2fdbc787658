"""A nonprofit that issues currents, its events, and the people who attend."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models import Collective, new_id, now
from models.enums import MemberRole
from tests.factories import Person, World, ref
from tests.hours_world import create_issuer

MEMBER = "member { id role since member { slug } collective { slug } }"
ORDER = """order { id status type from { slug } to { slug } event { slug } amount { value currency }
    approvedAmount { value } description actions { type toStatus } transactions { kind amount { value } } }"""
COUNTS = """query($s: String!) { collective(slug: $s) { ... on Event {
    registrationCount waitingCount isCancelled coordinator { slug } } } }"""


@dataclass
class EventScene:
    """Chris is ADMIN of the nonprofit; other people are created when first named."""

    world: World
    nonprofit: Collective
    chris: Person
    suffix: str
    people: dict[str, Person] = field(default_factory=dict)

    @classmethod
    async def create(cls, world: World) -> "EventScene":
        """Create a nonprofit that may issue currents, in a world shared with other scenes."""
        suffix = f"-{new_id().hex[-12:]}"
        chris = await world.person("chris" + suffix)
        return cls(world, await create_issuer(world, "greatdeeds" + suffix, chris), chris, suffix)

    async def person(self, name: str, *, claimed: bool = True) -> Person:
        """Return the person of a name, created on first use."""
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
        """Create an event that starts in `starts` hours; return a CollectiveRef."""
        payload = await self.world.mutate(
            "createEvent",
            "event { slug }",
            by=by or self.chris,
            parent=ref(parent or self.nonprofit),
            **{"name": "Cleanup", **event_times(starts, hours), **more},
        )
        assert payload["errors"] == [], payload
        return {"slug": payload["event"]["slug"]}

    async def register(self, event: dict[str, Any], *names: str) -> list[str]:
        """Register people one after another; return their roles."""
        results = []
        for name in names:
            payload = await self.world.mutate(
                "registerForEvent", MEMBER, by=await self.person(name), event=event
            )
            assert payload["errors"] == [], payload
            results.append(payload["member"]["role"])
        return results

    async def roles(self, event: dict[str, Any]) -> dict[str, str]:
        """Return the role of each attendee and waiting person by name, as an ADMIN sees them."""
        query = """query($s: String!) { collective(slug: $s) {
            members(role: [ATTENDEE, WAITING], first: 100) { nodes { role member { slug } } } } }"""
        data = await self.world.query(query, by=self.chris, s=event["slug"])
        return {
            row["member"]["slug"].removesuffix(self.suffix): row["role"]
            for row in data["collective"]["members"]["nodes"]
        }

    async def counts(self, event: dict[str, Any]) -> tuple[int, int]:
        """Return the number of registered and of waiting people."""
        collective = (await self.world.query(COUNTS, s=event["slug"]))["collective"]
        return collective["registrationCount"], collective["waitingCount"]

    async def check_in(
        self, event: dict[str, Any], who: Person, *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Check a user in as the nonprofit's ADMIN; return the payload."""
        return await self.world.mutate(
            "checkIn", f"{ORDER} {MEMBER}", by=by or self.chris, event=event, user=ref(who), **more
        )

    async def check_out(
        self, event: dict[str, Any], who: Person, *, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Check a user out as the nonprofit's ADMIN; return the payload."""
        return await self.world.mutate(
            "checkOut", ORDER, by=by or self.chris, event=event, user=ref(who), **more
        )

    async def admin(self, row: Collective, name: str) -> Person:
        """Grant a person the ADMIN role in a collective."""
        person = await self.person(name)
        await self.world.member(row, person, MemberRole.ADMIN)
        return person

    async def mails(self, template: str, **payload: str) -> list[str]:
        """Return the names of this scene's recipients of a mail, sorted."""
        sql = "SELECT coalesce(array_agg(recipient ORDER BY recipient), '{}') FROM outbox WHERE template = :t"
        values = {"t": template, "like": f"%{self.suffix}@%"}
        sql += " AND recipient LIKE :like"
        for name, text in payload.items():
            sql += f" AND payload ->> '{name}' = :{name}"
            values[name] = text
        value = await self.world.scalar(sql, **values)
        return [address.removesuffix(f"{self.suffix}@commonweal.test") for address in value]

    async def currents(self, who: Person) -> int:
        """Return a person's currents, in minor units."""
        value = await self.world.scalar(
            "SELECT coalesce(sum(posted), 0) FROM ledger_account WHERE owner_id = :id AND kind = 'BALANCE'"
            " AND currency = 'CUR'",
            id=who.user.id,
        )
        return int(value)

    async def issued(self, row: Collective) -> int:
        """Return the currents that a nonprofit has issued, in minor units."""
        value = await self.world.scalar(
            "SELECT coalesce(-sum(posted), 0) FROM ledger_account WHERE owner_id = :id AND kind = 'ISSUANCE'",
            id=row.id,
        )
        return int(value)

    async def expect_problem(
        self, mutation: str, code: str, path: str, *, by: Person, **arguments: Any
    ) -> None:
        """Assert that a mutation returns one error with this code and path, and stores nothing."""
        await self.world.expect_problem(mutation, code, ["input", *path.split(".")], by=by, **arguments)

    async def expect_denied(
        self, mutation: str, *, by: Person | None, code: str = "FORBIDDEN", **arguments: Any
    ) -> None:
        """Assert that a mutation is denied at the top level and stores nothing."""
        before = await self.world.fingerprint()
        name = mutation[0].upper() + mutation[1:]
        body = await self.world.execute(
            f"mutation($i: {name}Input!) {{ {mutation}(input: $i) {{ errors {{ code }} }} }}",
            by=by,
            i=arguments,
        )
        assert [e["extensions"]["code"] for e in body["errors"]] == [code]
        assert await self.world.fingerprint() == before


def event_times(starts: float, hours: float = 2) -> dict[str, str]:
    """Return the times of an event that starts in `starts` hours."""
    starts_at: datetime = now() + timedelta(hours=starts)
    return {"startsAt": starts_at.isoformat(), "endsAt": (starts_at + timedelta(hours=hours)).isoformat()}
