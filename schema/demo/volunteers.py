"""The volunteers' half of the demo world: openCurrents' own fixtures, by name and number, from a fixed seed.

Four organizations, eight people, ten projects with up to two events each, thirty hour requests, three offers
per business and twenty redemptions; a third or a quarter of them in each state.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from models import now
from schema.demo.driver import Demo

SEED = 20171129
"""The date of the source of the fixtures."""
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
class _Progress:
    """State that the steps share."""

    random: random.Random
    midnight: datetime
    """The start of today in UTC, from which all times are counted."""
    busy: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    available: dict[str, Decimal] = field(default_factory=dict)
    offers: list[tuple[str, str, int]] = field(default_factory=list)
    """Id, business and share."""

    def reserve_time(self, user: str, starts_at: datetime, ends_at: datetime) -> bool:
        """Reserve a user's time; return False if it overlaps a reserved one."""
        reserved = self.busy.setdefault(user, [])
        if any(starts_at < end and start < ends_at for start, end in reserved):
            return False
        reserved.append((starts_at, ends_at))
        return True

    def add_currents(self, user: str, hours: Decimal) -> None:
        """Add currents to those that a user has."""
        self.available[user] = self.available.get(user, Decimal(0)) + hours


async def load(demo: Demo) -> None:
    """Create the volunteers' half of the demo world."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    progress = _Progress(random.Random(SEED), midnight)
    await _people(demo)
    await _projects(demo, progress)
    await _hours(demo, progress)
    await _offers(demo, progress)
    await _redemptions(demo, progress)
    await _cash_out(demo)


def _of(slug: str) -> dict[str, str]:
    return {"slug": slug}


def _amount(value: Decimal | str, currency: str) -> dict[str, str]:
    return {"value": str(value), "currency": currency}


async def _people(demo: Demo) -> None:
    for slug, name in PEOPLE.items():
        await demo.create_user(f"{slug.replace('-', '_')}@{MAIL}", name, slug)
    for slug, name in (NONPROFITS | BUSINESSES).items():
        first, *others = ADMINS[slug]
        nonprofit = slug in NONPROFITS
        await demo.mutate(
            first,
            "createCollective",
            "",
            type="NONPROFIT" if nonprofit else "BUSINESS",
            name=name,
            slug=slug,
            currency="USD",
            tags=["volunteering"] if nonprofit else ["local", "sustainable"],
            isHost=nonprofit,
        )
        for other in others:
            invited = await demo.mutate(
                first,
                "inviteMember",
                "invitation { id }",
                collective=_of(slug),
                role="ADMIN",
                user=_of(other),
            )
            await demo.mutate(other, "respondToInvitation", "", id=invited["invitation"]["id"], accept=True)
        if nonprofit:
            await demo.approve_host(slug)
            await demo.mutate("platform-admin", "decideIssuer", "", nonprofit=_of(slug), approve=True)


async def _projects(demo: Demo, progress: _Progress) -> None:
    """Create ten projects of the nonprofits, each with up to two events that people attend."""
    letters = progress.random.sample("ABCDEFGHIJKLMNOPQRSTUVWXYZ", PROJECTS)
    for letter in letters:
        nonprofit = progress.random.choice([*NONPROFITS])
        admin = progress.random.choice(ADMINS[nonprofit])
        slug = f"lets-{letter.lower()}-{nonprofit}"
        await demo.mutate(
            admin, "createCollective", "", type="COMMUNITY", name=f"Let's {letter}", slug=slug, currency="USD"
        )
        applied = await demo.mutate(
            admin, "applyToHost", "application { id }", collective=_of(slug), host=_of(nonprofit)
        )
        await demo.mutate(admin, "decideHostApplication", "", id=applied["application"]["id"], approve=True)
        for number in range(progress.random.randrange(3)):
            await _event(demo, progress, nonprofit, f"Let's {letter}", f"Location{number}")


async def _event(demo: Demo, progress: _Progress, nonprofit: str, name: str, location: str) -> None:
    days = progress.random.randrange(1, 60) * progress.random.choice((-1, 1))
    if days < 0:
        days = -(-days % 12 + 1)  # people are checked in at most 14 days after an event
    starts_at = progress.midnight + timedelta(days=days, hours=progress.random.randrange(12, 20))
    hours = progress.random.randrange(1, 4)
    ends_at = starts_at + timedelta(hours=hours)
    admin = ADMINS[nonprofit][0]
    payload = await demo.mutate(
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
    event = _of(payload["event"]["slug"])
    people = progress.random.sample([*PEOPLE], progress.random.randrange(1, 8))
    if days > 0:
        for user in people:
            await demo.mutate(user, "registerForEvent", "", event=event)
        return
    for user in people[: progress.random.randrange(len(people) + 1)]:
        if user == admin or not progress.reserve_time(user, starts_at, ends_at):
            continue
        await demo.mutate(admin, "checkIn", "", event=event, user=_of(user))
        progress.add_currents(user, Decimal(hours))
        if progress.random.random() < 1 / 2:
            await demo.mutate(admin, "checkOut", "", event=event, user=_of(user))


async def _hours(demo: Demo, progress: _Progress) -> None:
    """Log hours of the last days: a third is pending, a third approved, a third rejected."""
    number = 0
    while number < REQUESTS:
        user = progress.random.choice([*PEOPLE])
        nonprofit = progress.random.choice([*NONPROFITS])
        quarters = progress.random.randrange(1, 16)
        day = progress.midnight - timedelta(days=progress.random.randrange(1, 7))
        starts_at = day + QUARTER * progress.random.randrange(96 - quarters)
        ends_at = starts_at + QUARTER * quarters
        approvers = [admin for admin in ADMINS[nonprofit] if admin != user]
        if not approvers or not progress.reserve_time(user, starts_at, ends_at):
            continue
        order = await demo.mutate_order(
            user,
            "logHours",
            nonprofit=_of(nonprofit),
            startsAt=starts_at.isoformat(),
            endsAt=ends_at.isoformat(),
            description=f"Volunteering {number + 1}",
        )
        if number % 3 == 1:
            await demo.mutate_order(approvers[0], "approveOrder", id=order)
            progress.add_currents(user, Decimal(quarters) / 4)
        elif number % 3 == 2:
            await demo.mutate_order(approvers[0], "rejectOrder", id=order, reason="We did not see you")
        number += 1


async def _offers(demo: Demo, progress: _Progress) -> None:
    for business in BUSINESSES:
        for item in ITEMS:
            share = 5 * progress.random.randrange(1, 20)
            limit = None if progress.random.random() < 0.6 else progress.random.choice((5, 10, 15, 20))
            payload = await demo.mutate(
                ADMINS[business][0],
                "createOffer",
                "offer { id }",
                business=_of(business),
                item=item,
                currentsSharePercent=share,
                monthlyLimit=limit,
            )
            progress.offers.append((payload["offer"]["id"], business, share))


async def _redemptions(demo: Demo, progress: _Progress) -> None:
    """Redeem currents: a quarter each is pending, approved, paid and rejected."""
    await demo.mutate_order(
        "platform-admin",
        "addFunds",
        to=_of("commonweal"),
        amount=_amount("1000.00", "USD"),
        description="To pay for redemptions",
    )
    for number in range(REDEMPTIONS):
        user = max(sorted(progress.available), key=lambda w: progress.available[w])
        offer, business, share = progress.random.choice(progress.offers)
        while user in ADMINS[business]:
            offer, business, share = progress.random.choice(progress.offers)
        currents = (progress.available[user] * Decimal(progress.random.randrange(10, 50)) / 100).quantize(
            Decimal("0.05")
        )
        price = (currents * 20 * 100 / share).quantize(Decimal("0.01"))
        order = await demo.mutate_order(
            user, "redeemOffer", offer=offer, price=_amount(price, "USD"), receipt=f"Receipt {number + 1}"
        )
        await _decide(demo, progress, number % 4, order, user=user, business=business, currents=currents)


async def _decide(demo: Demo, progress: _Progress, state: int, order: str, **redemption: Any) -> None:
    """Leave a redemption pending, or approve, pay or reject it."""
    admin = ADMINS[redemption["business"]][0]
    if state == 3:
        await demo.mutate_order(admin, "rejectOrder", id=order, reason="The receipt is not ours")
        return
    progress.available[redemption["user"]] -= redemption["currents"] + Decimal(
        "0.001"
    )  # rounding may take a thousandth more
    if state in {1, 2}:
        await demo.mutate_order(admin, "approveOrder", id=order)
    if state == 2:
        await demo.mutate_order("platform-admin", "payOrder", id=order)


async def _cash_out(demo: Demo) -> None:
    """Cash out part of a volunteer's dollars, and donate some currents."""
    for user in sorted(PEOPLE):
        if await demo.has_dollars(user):
            await demo.mutate_order(user, "cashOut", amount=_amount("0.50", "USD"))
            break
    await demo.mutate_order(
        "volunteer1",
        "donate",
        **{"from": _of("volunteer1")},
        to=_of("greatdeeds"),
        amount=_amount("0.250", "CUR"),
        description="Keep it up",
    )
