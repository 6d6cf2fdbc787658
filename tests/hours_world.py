"""A nonprofit that issues currents, a business that takes them, and volunteers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Collective, now
from models.enums import CollectiveType
from tests.donation_world import expect_order
from tests.factories import Person, World, money, ref

ORDER = """order { id status type amount { minorUnits currency } approvedAmount { minorUnits }
    transactions { id kind amount { minorUnits } } actions { type reason amount { minorUnits } } }"""
BALANCE = """query($s: String!, $c: CurrencyCode!) { collective(slug: $s) { balance(currency: $c) {
    posted { minorUnits } held { minorUnits } available { minorUnits } pending { minorUnits } } } }"""


def yesterday(hour: int, minute: int = 0, *, days: int = 1) -> datetime:
    """Return a time of day in the past, in UTC."""
    day = now().astimezone(UTC) - timedelta(days=days)
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0)


@dataclass
class HoursScene:
    """A volunteer, a nonprofit with its ADMIN, and a business with its ADMIN."""

    world: World
    nonprofit: Collective
    chris: Person
    """ADMIN of the nonprofit."""
    business: Collective
    mark: Person
    """ADMIN of the business."""
    john: Person
    """A volunteer."""

    @classmethod
    async def create(cls, world: World, *, suffix: str = "") -> "HoursScene":
        """Create a nonprofit that may issue currents, a business, and their people."""
        chris, mark, john = [await world.person(f"{name}{suffix}") for name in ("chris", "mark", "john")]
        nonprofit = await create_issuer(world, f"greatdeeds{suffix}", chris)
        business = await world.community(
            f"consciousbiz{suffix}", None, mark, collective_type=CollectiveType.BUSINESS
        )
        return cls(world, nonprofit, chris, business, mark, john)

    async def log(
        self, hours: float = 1, *, start: datetime | None = None, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Log hours from `start`, by default yesterday at 8:00; return the payload."""
        starts_at = start or yesterday(8)
        arguments: dict[str, Any] = {
            "nonprofit": ref(self.nonprofit),
            "startsAt": starts_at.isoformat(),
            "endsAt": (starts_at + timedelta(hours=hours)).isoformat(),
            **more,
        }
        return await self.world.mutate("logHours", ORDER, by=by or self.john, **arguments)

    async def approve(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Approve as the nonprofit's ADMIN; return the payload."""
        return await self.world.mutate("approveOrder", ORDER, by=by or self.chris, id=order_id, **more)

    async def earn(self, value: str, person: Person | None = None) -> None:
        """Let a volunteer earn currents by approved hours of the past days."""
        whom, left = person or self.john, float(value)
        for days in range(1, 14):
            if left <= 0:
                break
            part = min(left, 23.0)
            payload = await self.log(max(part, 0.25), start=yesterday(0, days=days), by=whom)
            await self.approve(expect_order(payload), amount=money(f"{part:.3f}", "CUR"), reason="as agreed")
            left -= part

    async def balance(self, who: Collective | Person, currency: str, *, by: Person) -> dict[str, int]:
        """Return posted, held, available and pending in minor units."""
        data = await self.world.query(BALANCE, by=by, s=who.slug, c=currency)
        figures = data["collective"]["balance"]
        return {name: int(amount["minorUnits"]) for name, amount in figures.items()}


async def create_issuer(world: World, slug: str, admin: Person) -> Collective:
    """Create a nonprofit that may issue currents."""
    row = await world.host(slug, admin)
    async with world.sessions() as session, session.begin():
        result = await session.get_one(Collective, row.id)
        result.issuer_approved_at = now()
    return row
