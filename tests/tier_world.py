"""A collective that sells in tiers, and an event with tickets."""

from datetime import timedelta
from typing import Any

from models import Collective, now
from models.enums import CollectiveType
from tests.donation_world import DonationScene
from tests.factories import Person, money, ref

TIER = """tier { id type name description pricing currency amount { value } minimum { value }
    presets { value } capacity maxPerPerson goal { value } sold left raised { value } isArchived
    collective { slug } }"""
ORDER = """order { id status quantity expiresAt amount { value } tier { id name sold } event { slug }
    transactions { kind } }"""


async def create_tier(
    scene: DonationScene,
    *,
    of: Collective | None = None,
    by: Person | None = None,
    amount: str | None = "10.00",
    kind: str = "MEMBERSHIP",
    currency: str = "USD",
    **more: Any,
) -> str:
    """Create a tier of babel by default; return its id."""
    payload = await scene.world.mutate(
        "createTier",
        "tier { id }",
        by=by or scene.friend,
        collective=ref(of or scene.babel),
        type=kind,
        **({"amount": money(amount, currency)} if amount else {}),
        **({"name": "Backer"} | more),
    )
    assert payload["errors"] == [], payload
    return str(payload["tier"]["id"])


async def order(
    scene: DonationScene,
    tier: str,
    quantity: int | None = None,
    *,
    value: str | None = None,
    by: Person | None = None,
    from_: Collective | Person | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Donate in a tier of babel, from webpack by default; return the payload."""
    more = {"to": ref(scene.babel), "tier": tier} | more | {"from": ref(from_ or scene.webpack)}
    if quantity is not None:
        more["quantity"] = quantity
    amount = value or f"{10 * (quantity or 1)}.00"
    more = {"amount": money(amount)} | more
    return await scene.world.mutate("donate", ORDER, by=by or scene.giver, **more)


async def event_of(scene: DonationScene, slug: str = "meetup", **columns: Any) -> Collective:
    """Create an event of babel that takes place tomorrow."""
    at = now()
    row = Collective(
        slug=slug + scene.suffix,
        type=CollectiveType.EVENT,
        name=slug,
        currency="USD",
        parent_id=scene.babel.id,
        **({"starts_at": at + timedelta(days=1), "ends_at": at + timedelta(days=1, hours=2)} | columns),
    )
    await scene.world.add(row)
    return row


async def funded_user(scene: DonationScene, slug: str, value: str = "100.00") -> Person:
    """Create a user with a balance."""
    person = await scene.world.person(slug + scene.suffix)
    await scene.world.fund(person.user, value, by=scene.world.admin)
    return person
