"""A nonprofit that issues currents, a business that takes them, and volunteers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models import Collective, now
from models.enums import CollectiveType
from tests.donation_world import done
from tests.factories import Person, World, money, of

ORDER = """order { id status type amount { minorUnits currency } approvedAmount { minorUnits }
    transactions { id kind amount { minorUnits } } actions { type reason amount { minorUnits } } }"""
BALANCE = """query($s: String!, $c: CurrencyCode!) { collective(slug: $s) { balance(currency: $c) {
    posted { minorUnits } held { minorUnits } available { minorUnits } pending { minorUnits } } } }"""


def yesterday(hour: int, minute: int = 0, *, days: int = 1) -> datetime:
    """Return a moment of a day in the past, UTC."""
    day = now().astimezone(UTC) - timedelta(days=days)
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0)


@dataclass
class TimeScene:
    """Who gives hours, who approves them, who takes currents."""

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
    async def create(cls, world: World, *, suffix: str = "") -> "TimeScene":
        """Make a nonprofit that may issue, a business, and their people."""
        chris, mark, john = [await world.person(f"{name}{suffix}") for name in ("chris", "mark", "john")]
        nonprofit = await issuer(world, f"greatdeeds{suffix}", chris)
        business = await world.community(f"consciousbiz{suffix}", None, mark, type=CollectiveType.BUSINESS)
        return cls(world, nonprofit, chris, business, mark, john)

    async def log(
        self, hours: float = 1, *, start: datetime | None = None, by: Person | None = None, **more: Any
    ) -> dict[str, Any]:
        """Log hours from a start on, yesterday at noon if none is given; return the payload."""
        starts_at = start or yesterday(8)
        given: dict[str, Any] = {
            "nonprofit": of(self.nonprofit),
            "startsAt": starts_at.isoformat(),
            "endsAt": (starts_at + timedelta(hours=hours)).isoformat(),
            **more,
        }
        return await self.world.do("logHours", ORDER, by=by or self.john, **given)

    async def approve(self, order_id: str, *, by: Person | None = None, **more: Any) -> dict[str, Any]:
        """Approve as the nonprofit's ADMIN; return the payload."""
        return await self.world.do("approveOrder", ORDER, by=by or self.chris, id=order_id, **more)

    async def earn(self, value: str, person: Person | None = None) -> None:
        """Give a volunteer currents: hours of the past days, approved."""
        whom, left = person or self.john, float(value)
        for days in range(1, 14):
            if left <= 0:
                break
            part = min(left, 23.0)
            made = await self.log(max(part, 0.25), start=yesterday(0, days=days), by=whom)
            await self.approve(done(made), amount=money(f"{part:.3f}", "CUR"), reason="as agreed")
            left -= part

    async def balance(self, who: Collective | Person, currency: str, *, by: Person) -> dict[str, int]:
        """Return posted, held, available and pending in minor units."""
        found = await self.world.ask(BALANCE, by=by, s=who.slug, c=currency)
        figures = found["collective"]["balance"]
        return {name: int(amount["minorUnits"]) for name, amount in figures.items()}


async def issuer(world: World, slug: str, admin: Person) -> Collective:
    """Make a nonprofit that may issue currents."""
    row = await world.host(slug, admin)
    async with world.sessions() as session, session.begin():
        found = await session.get_one(Collective, row.id)
        found.issuer_approved_at = now()
    return row
