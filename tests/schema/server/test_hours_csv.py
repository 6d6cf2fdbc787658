"""The file of approved hours: over HTTP and from the command line."""

import codecs
import csv
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from models.enums import MemberRole
from schema.__main__ import main
from schema.cli import commands
from schema.server.app import create_application
from services.core.errors import Invalid
from services.volunteering.hours_csv import COLUMNS, NONPROFIT_COLUMN
from tests.donation_world import expect_order
from tests.factories import World, ref
from tests.hours_world import HoursScene, yesterday

URL = "/export/hours.csv"


@pytest.fixture
async def scene(world: World) -> HoursScene:
    return await HoursScene.create(world)


@pytest.fixture
async def client(scene: HoursScene) -> AsyncIterator[httpx.AsyncClient]:
    app = create_application(scene.world.settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as result:
            yield result


def export_parameters(scene: HoursScene, **more: str) -> dict[str, str]:
    day = yesterday(8).date()
    return {"nonprofit": scene.nonprofit.slug, "from": day.isoformat(), "until": day.isoformat(), **more}


def bearer(person: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {person.token}"}


async def rows(client: httpx.AsyncClient, scene: HoursScene, **more: str) -> list[list[str]]:
    answer = await client.get(URL, params=export_parameters(scene, **more), headers=bearer(scene.chris))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content.startswith(codecs.BOM_UTF8)
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def test_the_file_has_the_approved_hours_of_the_period(
    client: httpx.AsyncClient, scene: HoursScene
) -> None:
    await scene.world.mutate(
        "updateCollective", by=scene.john, collective={"slug": "john"}, name="John Volunteer"
    )
    await scene.approve(
        expect_order(await scene.log(1.5, start=yesterday(9, 30), description="Planting trees"))
    )
    expect_order(await scene.log(1, start=yesterday(12)))  # only asked for
    await scene.approve(expect_order(await scene.log(1, start=yesterday(9, days=2))))  # of another day
    head, *lines = await rows(client, scene)
    assert tuple(head) == COLUMNS
    assert lines == [
        [
            "1",
            "Manual",
            "Planting trees",
            "",
            "Chris",
            "John",
            "Volunteer",
            "john@commonweal.test",
            yesterday(9).date().isoformat(),
            "09:30",
            "1.500",
        ]
    ]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1+1", ";=1+1", "\u200b=1", '"=1', "\uff20A"]
)
async def test_cells_are_never_formulas(client: httpx.AsyncClient, scene: HoursScene, text: str) -> None:
    await scene.approve(expect_order(await scene.log(1, description=text)))
    (_, line) = await rows(client, scene)
    assert line[2] == f"'{text}"


async def test_polars_reads_the_file_as_it_was_written(client: httpx.AsyncClient, scene: HoursScene) -> None:
    texts = ['Caf\u00e9 "M\u00fcller", 1; 2', "two\nlines", "\u6771\u4eac", "=1+1"]
    for i, text in enumerate(texts):
        await scene.approve(expect_order(await scene.log(0.5, start=yesterday(8 + i), description=text)))
    answer = await client.get(URL, params=export_parameters(scene), headers=bearer(scene.chris))
    assert answer.content.count(b"\r\n") == len(texts) + 1
    frame = pl.read_csv(answer.content)
    assert tuple(frame.columns) == COLUMNS
    assert frame["Description"].to_list() == [*texts[:-1], "'=1+1"]
    assert frame["Entry"].to_list() == [1, 2, 3, 4]
    assert frame["Duration"].sum() == 2.0


async def test_a_communitys_file_has_the_hours_of_its_people_without_addresses(
    client: httpx.AsyncClient, scene: HoursScene
) -> None:
    world = scene.world
    club = await world.community("club", None, scene.mark)
    await world.member(club, scene.john, MemberRole.MEMBER)
    jane = await world.person("jane")
    await world.mutate("followCollective", by=jane, collective=ref(club))
    await scene.approve(expect_order(await scene.log(1)))
    await scene.approve(expect_order(await scene.log(1, by=jane)))
    parameters = export_parameters(scene) | {"nonprofit": "club"}
    answer = await client.get(URL, params=parameters, headers=bearer(scene.mark))
    head, line = csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
    assert tuple(head) == (*COLUMNS, NONPROFIT_COLUMN)
    row = dict(zip(head, line, strict=True))
    assert (row["Last"] or row["First"], row["Email"], row["Duration"]) == (scene.john.user.name, "", "1.000")
    assert row["Nonprofit"] == scene.nonprofit.name


async def test_days_are_the_nonprofits_own(client: httpx.AsyncClient, scene: HoursScene) -> None:
    await scene.world.mutate(
        "updateCollective", by=scene.chris, collective={"slug": "greatdeeds"}, timezone="Pacific/Auckland"
    )
    # 11:30 UTC is the next day in Auckland, summer or winter time.
    await scene.approve(expect_order(await scene.log(0.25, start=yesterday(12, 30, days=2))))
    _, line = await rows(client, scene)
    assert line[8] == yesterday(8).date().isoformat()


async def test_a_file_without_hours_has_only_a_header(client: httpx.AsyncClient, scene: HoursScene) -> None:
    assert (await rows(client, scene))[1:] == []


@pytest.mark.parametrize(
    ("who", "more", "status", "code"),
    [
        ("nobody", {}, 401, "UNAUTHENTICATED"),
        ("john", {}, 403, "FORBIDDEN"),
        ("mark", {}, 403, "FORBIDDEN"),
        ("chris", {"nonprofit": "none-such"}, 404, "NOT_FOUND"),
        ("chris", {"from": "soon"}, 400, "INVALID_INPUT"),
        ("chris", {"until": "2000-01-01"}, 400, "INVALID_INPUT"),
    ],
)
async def test_only_permitted_viewers_get_the_file(
    client: httpx.AsyncClient, scene: HoursScene, who: str, more: dict[str, str], status: int, code: str
) -> None:
    headers = bearer(getattr(scene, who)) if who != "nobody" else {}
    answer = await client.get(URL, params=export_parameters(scene, **more), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (status, code)


async def test_the_command_line_writes_the_same_file(
    client: httpx.AsyncClient, scene: HoursScene, tmp_path: Any
) -> None:
    await scene.approve(expect_order(await scene.log(1)))
    day = yesterday(8).date()
    file = tmp_path / "hours.csv"
    assert (
        await commands.export_hours(
            scene.world.settings, nonprofit="greatdeeds", days=(day - timedelta(days=1), day), file=file
        )
        == 0
    )
    answer = await client.get(URL, params=export_parameters(scene), headers=bearer(scene.chris))
    assert file.read_bytes() == answer.content


async def test_a_refused_export_leaves_the_file_as_it_is(scene: HoursScene, tmp_path: Path) -> None:
    file = tmp_path / "hours.csv"
    file.write_text("of last year")
    day = yesterday(8).date()
    with pytest.raises(Invalid, match="must not be before"):
        await commands.export_hours(
            scene.world.settings, nonprofit="greatdeeds", days=(day, day - timedelta(days=1)), file=file
        )
    assert file.read_text() == "of last year"


def test_the_export_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "hours", "--nonprofit", "greatdeeds", "--from", "soon", "--until", "2026-01-01"])
    assert "'soon' is no day, such as 2026-01-31" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [("2024-01-01", "9999-12-31", "until"), ("0001-01-01", "2024-01-01", "from")],
)
async def test_days_at_the_ends_of_the_calendar_are_refused(
    client: httpx.AsyncClient, scene: HoursScene, first: str, last: str, field: str
) -> None:
    parameters = export_parameters(scene) | {"from": first, "until": last}
    response = await client.get(URL, params=parameters, headers=bearer(scene.chris))
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"] == {"code": "INVALID_INPUT", "path": [field]}
