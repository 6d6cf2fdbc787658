"""The world in which the random history runs: hosts in three currencies, their collectives, people, time."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from models import FxRate, now
from models.enums import CollectiveType, MemberRole
from tests.factories import Person, World, money, ref
from tests.history.arithmetic import Fees, Side

RATES = {("EUR", "USD"): "1.1481", ("EUR", "JPY"): "160.25"}
PLATFORM_BPS = 500
DOLLARS_PER_CURRENT = 20
REDEMPTION_FEE_BPS = 1000
CLEARING_LIMIT = 150_000
"""What yen may owe dollars at most, in cents."""
COLLECTIVES = {
    "webpack": ("dollars", "USD"),
    "babel": ("dollars", "USD"),
    "berlin": ("dollars", "EUR"),
    "paris": ("euros", "EUR"),
    "detroit": ("euros", "USD"),
    "kyoto": ("yen", "JPY"),
    "nara": ("yen", "JPY"),
    "boston": ("yen", "USD"),
}
"""Host and currency of each community."""
HOSTS = {"dollars": ("USD", 500), "euros": ("EUR", 0), "yen": ("JPY", 300)}
"""Currency and fee of each host, in ten-thousandths."""
CARDS = {"dollars": (290, 30), "euros": (250, 25), "yen": (360, 0)}
"""Fee of each host's card, in ten-thousandths and minor units."""


@dataclass
class HistoryScene:
    """The world, and what a replay has to know of it beforehand."""

    world: World
    tokens: dict[str, str] = field(default_factory=dict)
    """Token of each person by slug."""
    cards: dict[str, str] = field(default_factory=dict)
    """Host of each payment method, by its id."""
    offers: dict[str, int] = field(default_factory=dict)
    """Share of each offer in per cent, by its id."""

    @property
    def platform(self) -> str:
        """The platform's slug."""
        return self.world.platform.slug

    def side(self, slug: str, currency: str) -> Side:
        """Return a payer or payee; a user has a balance in each currency, at the platform."""
        if slug in COLLECTIVES:
            host, own = COLLECTIVES[slug]
            return Side(slug, own, host, HOSTS[host][0])
        if slug in HOSTS:
            own = HOSTS[slug][0]
            return Side(slug, own, slug, own)
        own = "USD" if slug == self.platform else currency
        return Side(slug, own, self.platform, "CUR" if currency == "CUR" else "USD")

    def fees(self, payee: Side, *, card: str = "", host_bps: int | None = None) -> Fees:
        """Return the fees of money for a payee, before it is asked whether they apply."""
        own_bps = HOSTS[payee.host][1] if payee.host in HOSTS else 0
        processor_bps, fixed = CARDS[self.cards[card]] if card else (0, 0)
        return Fees(processor_bps, fixed, PLATFORM_BPS, own_bps if host_bps is None else host_bps)


def rate(base: str, quote: str) -> Fraction:
    """Return the rate between two currencies of the scene, over the euro."""
    per_euro = {"EUR": Fraction(1), "CUR": Fraction(1)} | {
        code: Fraction(value) for (_, code), value in RATES.items()
    }
    return per_euro[quote] / per_euro[base]


async def create_scene(world: World) -> HistoryScene:
    """Create the world; no money and no time is in it yet."""
    scene = HistoryScene(world)
    people = {
        slug: await world.person(slug)
        for slug in ("holder", "giver", "john", "kim", "lee", "chris", "mark", "eve", "rita")
    }
    scene.tokens = {slug: person.token for slug, person in people.items()} | {"admin": world.admin.token}
    await world.member(world.platform, people["eve"], MemberRole.ADMIN)
    await world.platform_fee(PLATFORM_BPS)
    for (base, quote), value in RATES.items():
        await world.rate(base, quote, value)
    # Spares the server the history of exchange rates, which it would load at its start.
    tomorrow = now() + timedelta(days=1)
    await world.add(FxRate(base="EUR", quote="USD", rate=Decimal(1), source="ECB", valid_from=tomorrow))
    await _add_hosts(scene, people)
    await _add_time(scene, people)
    return scene


async def _add_hosts(scene: HistoryScene, people: dict[str, Person]) -> None:
    world, holder = scene.world, people["holder"]
    hosts = {}
    for slug, (currency, bps) in HOSTS.items():
        hosts[slug] = await world.host(slug, holder, currency=currency, fee_bps=bps)
        await world.member(hosts[slug], people["rita"], MemberRole.ADMIN)
        card_bps, fixed = CARDS[slug]
        more = {"feeFixed": money(f"0.{fixed:02}", currency)} if fixed else {}
        payload = await world.mutate(
            "createPaymentMethod",
            "paymentMethod { id }",
            by=holder,
            host=ref(hosts[slug]),
            name="Card",
            type="BALANCE",
            feeBps=card_bps,
            **more,
        )
        assert payload["errors"] == [], payload
        scene.cards[payload["paymentMethod"]["id"]] = slug
    for slug, (host, currency) in COLLECTIVES.items():
        await world.community(slug, hosts[host], people["giver"], currency=currency)
    limited = await world.mutate(
        "setClearingLimit",
        by=holder,
        host=ref(hosts["dollars"]),
        counterpart=ref(hosts["yen"]),
        amount=money(f"{CLEARING_LIMIT // 100}.00"),
    )
    assert limited["errors"] == [], limited


async def _add_time(scene: HistoryScene, people: dict[str, Person]) -> None:
    world = scene.world
    issuer = await world.host("greatdeeds", people["chris"])
    issuer.issuer_approved_at = now()
    async with world.sessions() as session, session.begin():
        await session.merge(issuer)
    cafe = await world.community("cafe", None, people["mark"], collective_type=CollectiveType.BUSINESS)
    for share in (25, 60):
        payload = await world.mutate(
            "createOffer",
            "offer { id }",
            by=people["mark"],
            business=ref(cafe),
            item=f"Tea {share}",
            currentsSharePercent=share,
        )
        assert payload["errors"] == [], payload
        scene.offers[payload["offer"]["id"]] = share
