"""Whose names an import of an Open Collective ledger takes, and into which collectives it goes."""

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from models import (
    Collective,
    SlugRedirect,
    now,
)
from models.enums import (
    CollectiveType,
)
from services.core.errors import InvalidState, NotFound
from tests.open_collective_files import (
    Sessions,
    balances,
    contents,
    every,
    file,
    gift,
    host_fee,
    organization,
    refused,
    run,
)


async def test_no_slug_is_stolen(hosted: Sessions, tmp_path: Path) -> None:
    async with hosted() as session:
        taken = await organization(session, "taken")
        await organization(session, "twice")
        await organization(session, "twice-oc")
        session.add(SlugRedirect(slug="earlier", collective_id=taken.id))
        await session.commit()
    names = [
        "taken",
        "twice",
        "earlier",
        "admin",
        "under_score",
        "under-score",
        "x",
        "l" * 80,
        "free",
    ]
    path = file(tmp_path, [gift(oppositeAccountSlug=name) for name in names])
    report = await run(hosted, path)
    assert report.counterparts == len(names)

    made = {row.name: row for row in await every(hosted, Collective) if row.type == "USER"}
    slugs = {name: made[name].slug for name in names}
    assert slugs["taken"] == "taken-oc"
    assert slugs["twice"].startswith("twice-oc-")
    assert slugs["earlier"] == "earlier-oc"
    assert slugs["admin"] == "admin-oc"
    assert {slugs["under_score"], slugs["under-score"]} == {"under-score", "under-score-oc"}
    assert slugs["x"] == "x-oc"
    assert slugs["l" * 80].startswith("l" * 20)
    assert slugs["free"] == "free"
    before = await contents(hosted)
    await run(hosted, path)
    assert await contents(hosted) == before


async def test_the_host_may_have_another_slug_in_the_file(hosted: Sessions, tmp_path: Path) -> None:
    fee = host_fee(oppositeAccountSlug="osc")
    await run(hosted, file(tmp_path, [gift(), fee]))
    assert (await balances(hosted))["opensource", "BALANCE"] == 100
    both = file(tmp_path, [gift(), fee, host_fee(oppositeAccountSlug="third")])
    message = await refused(hosted, both, collective_slug="other")
    assert message == "Line 4, oppositeAccountSlug: the host was 'osc'"


async def test_a_renamed_collective_is_found_by_its_old_slug(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift()])
    await run(hosted, path)
    async with hosted() as session:
        row = (
            await session.execute(select(Collective).where(col(Collective.slug) == "webpack"))
        ).scalar_one()
        row.slug = "rspack"
        session.add_all([row, SlugRedirect(slug="webpack", collective_id=row.id)])
        await session.commit()
    assert (await run(hosted, path)).skipped == 1
    await refused(hosted, path, collective_slug="rspack")


async def test_a_host_or_collective_that_cannot_take_it_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    path = file(tmp_path, [gift()])
    async with hosted() as session:
        host = await organization(session, "elsewhere")
        await organization(session, "closed", archived_at=now())
        common: dict[str, Any] = {"name": "x", "currency": "USD", "host_approved_at": now()}
        session.add_all(
            [
                Collective(slug="homeless", type=CollectiveType.COMMUNITY, name="x", currency="USD"),
                Collective(slug="person", type=CollectiveType.USER, host_id=host.id, **common),
                Collective(slug="hosted", type=CollectiveType.COMMUNITY, host_id=host.id, **common),
                Collective(
                    slug="euros",
                    type=CollectiveType.COMMUNITY,
                    host_id=host.id,
                    **common | {"currency": "EUR"},
                ),
                Collective(
                    slug="gone",
                    type=CollectiveType.COMMUNITY,
                    host_id=host.id,
                    archived_at=now(),
                    **common,
                ),
            ]
        )
        await session.commit()
    await refused(hosted, path, NotFound, host_slug="nobody")
    await refused(hosted, path, NotFound, host_slug="no\x00body")
    await refused(hosted, path, InvalidState, host_slug="closed")
    for slug in ("homeless", "person", "hosted"):
        await refused(hosted, path, host_slug=slug)
        await refused(hosted, path, collective_slug=slug)
    await refused(hosted, path, host_slug="elsewhere", collective_slug="elsewhere")
    await refused(hosted, path, host_slug="elsewhere", collective_slug="person")
    await refused(hosted, path, host_slug="elsewhere", collective_slug="euros")
    await refused(hosted, path, InvalidState, host_slug="elsewhere", collective_slug="gone")
    for slug in ("", "admin", "No spaces", "a\x00b"):
        await refused(hosted, path, collective_slug=slug)
    report = await run(hosted, path, host_slug="Elsewhere", collective_slug="Hosted")
    assert report.orders == 1
