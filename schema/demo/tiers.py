"""Tiers, tickets and goals of the demo."""

from typing import Any

from schema.demo.driver import Demo


async def load(demo: Demo) -> None:
    """Let a collective sell memberships and an event tickets, and set a goal."""
    webpack, berlin = {"slug": "webpack"}, {"slug": "wwcodeberlin"}
    await demo.mutate(
        "webpack-admin", "setGoal", "", collective=webpack, kind="RAISED", amount=_amount("10000.00")
    )
    backer = await _tier(
        demo,
        "webpack-admin",
        collective=webpack,
        type="MEMBERSHIP",
        name="Backer",
        pricing="FLEXIBLE",
        minimum=_amount("5.00"),
        presets=[_amount("5.00"), _amount("20.00")],
    )
    await demo.mutate_order(
        "xdamman",
        "donate",
        **{"from": {"slug": "xdamman"}},
        to=webpack,
        tier=backer,
        amount=_amount("5.00"),
        description="Backer",
    )
    events = """{ collective(slug: "wwcodeberlin") { events { nodes { slug name } } } }"""
    nodes = (await demo.query("wwcodeberlin-admin", events))["collective"]["events"]["nodes"]
    seat = await _tier(
        demo,
        "wwcodeberlin-admin",
        collective={"slug": next(node["slug"] for node in nodes if node["name"] == "Meetup 4")},
        type="TICKET",
        name="Seat",
        amount=_amount("12.00", "EUR"),
        capacity=40,
        maxPerPerson=4,
    )
    ticket: dict[str, Any] = {"from": {"slug": "xdamman"}, "to": berlin, "tier": seat}
    price = _amount("24.00", "EUR")
    await demo.mutate_order("xdamman", "donate", **ticket, quantity=2, amount=price, description="Two seats")


async def _tier(demo: Demo, by: str, **fields: Any) -> str:
    payload = await demo.mutate(by, "createTier", "tier { id }", **fields)
    tier_id: str = payload["tier"]["id"]
    return tier_id


def _amount(value: str, currency: str = "USD") -> dict[str, str]:
    return {"value": value, "currency": currency}
