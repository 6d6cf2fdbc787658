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
    create_organization,
    digest_tables,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_all,
    load_balances,
    write_csv,
)


async def test_an_import_does_not_take_existing_slugs(hosted: Sessions, tmp_path: Path) -> None:
    async with hosted() as session:
        taken = await create_organization(session, "taken")
        await create_organization(session, "twice")
        await create_organization(session, "twice-oc")
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
    path = write_csv(tmp_path, [donation(oppositeAccountSlug=name) for name in names])
    report = await import_csv(hosted, path)
    assert report.counterparts == len(names)

    results = {row.name: row for row in await load_all(hosted, Collective) if row.type == "USER"}
    slugs = {name: results[name].slug for name in names}
    assert slugs["taken"] == "taken-oc"
    assert slugs["twice"].startswith("twice-oc-")
    assert slugs["earlier"] == "earlier-oc"
    assert slugs["admin"] == "admin-oc"
    assert {slugs["under_score"], slugs["under-score"]} == {"under-score", "under-score-oc"}
    assert slugs["x"] == "x-oc"
    assert slugs["l" * 80].startswith("l" * 20)
    assert slugs["free"] == "free"
    before = await digest_tables(hosted)
    await import_csv(hosted, path)
    assert await digest_tables(hosted) == before


async def test_the_host_may_have_a_different_slug_in_the_file(hosted: Sessions, tmp_path: Path) -> None:
    fee = host_fee(oppositeAccountSlug="osc")
    await import_csv(hosted, write_csv(tmp_path, [donation(), fee]))
    assert (await load_balances(hosted))["opensource", "BALANCE"] == 100
    both = write_csv(tmp_path, [donation(), fee, host_fee(oppositeAccountSlug="third")])
    message = await expect_import_problem(hosted, both, collective_slug="other")
    assert message == "Line 4, oppositeAccountSlug: earlier rows have the host 'osc'"


async def test_a_renamed_collective_is_found_by_its_old_slug(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(tmp_path, [donation()])
    await import_csv(hosted, path)
    async with hosted() as session:
        row = (
            await session.execute(select(Collective).where(col(Collective.slug) == "webpack"))
        ).scalar_one()
        row.slug = "rspack"
        session.add_all([row, SlugRedirect(slug="webpack", collective_id=row.id)])
        await session.commit()
    assert (await import_csv(hosted, path)).skipped == 1
    assert (await import_csv(hosted, path, collective_slug="rspack")).skipped == 1


async def test_an_unsuitable_host_or_collective_is_refused(hosted: Sessions, tmp_path: Path) -> None:
    path = write_csv(tmp_path, [donation()])
    async with hosted() as session:
        host = await create_organization(session, "elsewhere")
        await create_organization(session, "closed", archived_at=now())
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
    await expect_import_problem(hosted, path, NotFound, host_slug="nobody")
    await expect_import_problem(hosted, path, NotFound, host_slug="no\x00body")
    await expect_import_problem(hosted, path, InvalidState, host_slug="closed")
    for slug in ("homeless", "person", "hosted"):
        await expect_import_problem(hosted, path, host_slug=slug)
        await expect_import_problem(hosted, path, collective_slug=slug)
    await expect_import_problem(hosted, path, host_slug="elsewhere", collective_slug="elsewhere")
    await expect_import_problem(hosted, path, host_slug="elsewhere", collective_slug="person")
    await expect_import_problem(hosted, path, host_slug="elsewhere", collective_slug="euros")
    await expect_import_problem(hosted, path, InvalidState, host_slug="elsewhere", collective_slug="gone")
    for slug in ("", "admin", "No spaces", "a\x00b"):
        await expect_import_problem(hosted, path, collective_slug=slug)
    report = await import_csv(hosted, path, host_slug="Elsewhere", collective_slug="Hosted")
    assert report.orders == 1
