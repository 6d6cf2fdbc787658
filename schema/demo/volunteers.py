"""The volunteers' half of the demo world: openCurrents' own fixtures, by name and count, from a fixed seed.

Four organizations, eight people, ten projects with up to two events each, thirty requests of hours, three
offers a business, twenty redemptions; a third or a quarter of each in every state.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from models import now

if TYPE_CHECKING:
    from schema.demo.world import Demo

SEED = 20171129
"""The day of the pages that the fixtures come from."""
MAIL = "opencurrents.com"
NONPROFITS = {"greatdeeds": "GreatDeeds", "goodvibes": "GoodVibes"}
BUSINESSES = {"consciousbiz": "ConsciousBiz", "greenbiz": "GreenBiz"}
PEOPLE = {
    "volunteer1": "John Volunteer",
    "volunteer2": "Patrick Volunteer",
    "greatdeeds-admin1": "Chris GreatDeedsAdmin",
    "greatdeeds-admin2": "Ed GreatDeedsAdmin",
    "goodvibes-admin": "Kate GoodVibesAdmin",
    "consciousbiz-admin1": "Mark ConsciousBizAdmin",
    "consciousbiz-admin2": "Andrew ConsciousBizAdmin",
    "greenbiz-admin": "Ann GreenBizAdmin",
}
ADMINS = {
    "greatdeeds": ["greatdeeds-admin1", "greatdeeds-admin2"],
    "goodvibes": ["goodvibes-admin"],
    "consciousbiz": ["consciousbiz-admin1", "consciousbiz-admin2"],
    "greenbiz": ["greenbiz-admin"],
}
ITEMS = ("All products", "Kombucha", "Jun")
PROJECTS, REQUESTS, REDEMPTIONS = 10, 30, 20
QUARTER = timedelta(minutes=15)


@dataclass
class _Made:
    """What the steps hand on."""

    random: random.Random
    midnight: datetime
    """The beginning of today, UTC: every moment of the fixtures is counted from it."""
    busy: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    available: dict[str, Decimal] = field(default_factory=dict)
    offers: list[tuple[str, str, int]] = field(default_factory=list)
    """Id, business and share."""

    def is_free(self, who: str, starts_at: datetime, ends_at: datetime) -> bool:
        """Take a time of somebody's, unless it overlaps one that is taken."""
        taken = self.busy.setdefault(who, [])
        if any(starts_at < end and start < ends_at for start, end in taken):
            return False
        taken.append((starts_at, ends_at))
        return True

    def earned(self, who: str, hours: Decimal) -> None:
        """Note currents that somebody has."""
        self.available[who] = self.available.get(who, Decimal(0)) + hours


async def load(world: "Demo") -> None:
    """Make the volunteers' half of the demo world."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    made = _Made(random.Random(SEED), midnight)
    await _people(world)
    await _projects(world, made)
    await _hours(world, made)
    await _offers(world, made)
    await _redemptions(world, made)
    await _cash_out(world)


def _of(slug: str) -> dict[str, str]:
    return {"slug": slug}


def _amount(value: Decimal | str, currency: str) -> dict[str, str]:
    return {"value": str(value), "currency": currency}


async def _people(world: "Demo") -> None:
    for slug, name in PEOPLE.items():
        await world.person(f"{slug.replace('-', '_')}@{MAIL}", name, slug)
    for slug, name in (NONPROFITS | BUSINESSES).items():
        first, *others = ADMINS[slug]
        nonprofit = slug in NONPROFITS
        await world.do(
            first,
            "createCollective",
            "",
            type="NONPROFIT" if nonprofit else "BUSINESS",
            name=name,
            slug=slug,
            currency="USD",
            isHost=nonprofit,
        )
        for other in others:
            invited = await world.do(
                first,
                "inviteMember",
                "invitation { id }",
                collective=_of(slug),
                role="ADMIN",
                user=_of(other),
            )
            await world.do(other, "respondToInvitation", "", id=invited["invitation"]["id"], accept=True)
        if nonprofit:
            await world.do("platform-admin", "decideIssuer", "", nonprofit=_of(slug), approve=True)


async def _projects(world: "Demo", made: _Made) -> None:
    """Make ten projects of the nonprofits, each with no, one or two events that people came to."""
    letters = made.random.sample("ABCDEFGHIJKLMNOPQRSTUVWXYZ", PROJECTS)
    for letter in letters:
        nonprofit = made.random.choice([*NONPROFITS])
        admin = made.random.choice(ADMINS[nonprofit])
        slug = f"lets-{letter.lower()}-{nonprofit}"
        await world.do(
            admin, "createCollective", "", type="COMMUNITY", name=f"Let's {letter}", slug=slug, currency="USD"
        )
        asked = await world.do(
            admin, "applyToHost", "application { id }", collective=_of(slug), host=_of(nonprofit)
        )
        await world.do(admin, "decideHostApplication", "", id=asked["application"]["id"], approve=True)
        for number in range(made.random.randrange(3)):
            await _event(world, made, nonprofit, f"Let's {letter}", f"Location{number}")


async def _event(world: "Demo", made: _Made, nonprofit: str, name: str, location: str) -> None:
    days = made.random.randrange(1, 60) * made.random.choice((-1, 1))
    starts_at = made.midnight + timedelta(days=days, hours=made.random.randrange(12, 20))
    hours = made.random.randrange(1, 4)
    ends_at = starts_at + timedelta(hours=hours)
    admin = ADMINS[nonprofit][0]
    done = await world.do(
        admin,
        "createEvent",
        "event { slug }",
        parent=_of(nonprofit),
        name=name,
        location=location,
        startsAt=starts_at.isoformat(),
        endsAt=ends_at.isoformat(),
        isPublic=True,
    )
    event = _of(done["event"]["slug"])
    people = made.random.sample([*PEOPLE], made.random.randrange(1, 8))
    if days > 0:
        for who in people:
            await world.do(who, "registerForEvent", "", event=event)
        return
    for who in people[: made.random.randrange(len(people) + 1)]:
        if who == admin or not made.is_free(who, starts_at, ends_at):
            continue
        await world.do(admin, "checkIn", "", event=event, user=_of(who))
        made.earned(who, Decimal(hours))
        if made.random.random() < 1 / 2:
            await world.do(admin, "checkOut", "", event=event, user=_of(who))


async def _hours(world: "Demo", made: _Made) -> None:
    """Let people log hours of the last days: a third waits, a third is approved, a third declined."""
    number = 0
    while number < REQUESTS:
        who = made.random.choice([*PEOPLE])
        nonprofit = made.random.choice([*NONPROFITS])
        quarters = made.random.randrange(1, 16)
        day = made.midnight - timedelta(days=made.random.randrange(1, 7))
        starts_at = day + QUARTER * made.random.randrange(96 - quarters)
        ends_at = starts_at + QUARTER * quarters
        approvers = [admin for admin in ADMINS[nonprofit] if admin != who]
        if not approvers or not made.is_free(who, starts_at, ends_at):
            continue
        order = await world.order(
            who,
            "logHours",
            nonprofit=_of(nonprofit),
            startsAt=starts_at.isoformat(),
            endsAt=ends_at.isoformat(),
            description=f"Volunteering {number + 1}",
        )
        if number % 3 == 1:
            await world.order(approvers[0], "approveOrder", id=order)
            made.earned(who, Decimal(quarters) / 4)
        elif number % 3 == 2:
            await world.order(approvers[0], "rejectOrder", id=order, reason="We did not see you")
        number += 1


async def _offers(world: "Demo", made: _Made) -> None:
    for business in BUSINESSES:
        for item in ITEMS:
            share = 5 * made.random.randrange(1, 20)
            limit = None if made.random.random() < 0.6 else made.random.choice((5, 10, 15, 20))
            done = await world.do(
                ADMINS[business][0],
                "createOffer",
                "offer { id }",
                business=_of(business),
                item=item,
                currentsSharePercent=share,
                monthlyLimit=limit,
            )
            made.offers.append((done["offer"]["id"], business, share))


async def _redemptions(world: "Demo", made: _Made) -> None:
    """Redeem currents: a quarter waits, a quarter is approved, a quarter paid, a quarter declined."""
    await world.order(
        "platform-admin",
        "addFunds",
        to=_of("commonweal"),
        amount=_amount("1000.00", "USD"),
        description="To pay for redemptions",
    )
    for number in range(REDEMPTIONS):
        who = max(sorted(made.available), key=lambda w: made.available[w])
        offer, business, share = made.random.choice(made.offers)
        while who in ADMINS[business]:
            offer, business, share = made.random.choice(made.offers)
        currents = (made.available[who] * Decimal(made.random.randrange(10, 50)) / 100).quantize(
            Decimal("0.05")
        )
        price = (currents * 20 * 100 / share).quantize(Decimal("0.01"))
        order = await world.order(
            who, "redeemOffer", offer=offer, price=_amount(price, "USD"), receipt=f"Receipt {number + 1}"
        )
        await _decide(world, made, number % 4, order, who=who, business=business, currents=currents)


async def _decide(world: "Demo", made: _Made, state: int, order: str, **of: Any) -> None:
    """Leave a redemption waiting, approve, pay or decline it."""
    admin = ADMINS[of["business"]][0]
    if state == 3:
        await world.order(admin, "rejectOrder", id=order, reason="The receipt is not ours")
        return
    made.available[of["who"]] -= of["currents"] + Decimal("0.001")  # rounding may take a thousandth more
    if state in {1, 2}:
        await world.order(admin, "approveOrder", id=order)
    if state == 2:
        await world.order("platform-admin", "payOrder", id=order)


async def _cash_out(world: "Demo") -> None:
    """Ask for a part of the dollars that a volunteer has, and give currents away."""
    for who in sorted(PEOPLE):
        if await world.has_dollars(who):
            await world.order(who, "cashOut", amount=_amount("0.50", "USD"))
            break
    await world.order(
        "volunteer1",
        "donate",
        **{"from": _of("volunteer1")},
        to=_of("greatdeeds"),
        amount=_amount("0.250", "CUR"),
        description="Keep it up",
    )
