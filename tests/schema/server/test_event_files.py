"""Files about events: the list for the door, calendars to subscribe to, and what mails bring."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import pytest
from icalendar import Calendar
from sqlalchemy import text

from models import Outbox, now
from models.enums import Locale
from services.messaging.links import Links
from services.messaging.mime_messages import build_message
from tests.event_world import EventScene, event_times
from tests.factories import Person, World, ref
from tests.schema.http.test_endpoint_requests import serving, signed, the_code

ATTENDEES = "/export/attendees.csv"
SOON = (now() + timedelta(days=30)).isoformat()
CREATE = """mutation($i: CreateAccessTokenInput!) { createAccessToken(input: $i) { token accessToken { id }
    errors { code } } }"""


@pytest.fixture
async def scene(shared: World) -> EventScene:
    return await EventScene.create(shared)


@pytest.fixture(scope="module")
async def client(shared: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shared.settings) as client:
        yield client


async def door(client: httpx.AsyncClient, event: dict[str, Any], by: Person) -> list[dict[str, str]]:
    answer = await client.get(ATTENDEES, params={"event": event["slug"]}, headers=signed(by))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="attendees-{event["slug"]}.csv"'
    assert list(pl.read_csv(answer.content).columns)[:2] == ["Name", "Email"]
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def calendar(client: httpx.AsyncClient, path: str, **parameters: str) -> dict[str, Any]:
    """Return the events of a calendar by name, parsed."""
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    parsed = Calendar.from_ical(answer.content)
    assert parsed["VERSION"] == "2.0"
    return {str(event["SUMMARY"]): event for event in parsed.walk("VEVENT")}


async def calendar_token(scene: EventScene, person: Person, *scopes: str) -> tuple[str, str]:
    """Create an access token as the person; return its text and id."""
    arguments = {"name": "phone", "scopes": list(scopes or ["CALENDAR"]), "expiresAt": SOON}
    payload = (await scene.world.query(CREATE, by=person, i=arguments))["createAccessToken"]
    assert payload["errors"] == []
    return payload["token"], payload["accessToken"]["id"]


async def test_the_door_has_names_and_addresses_of_who_agreed(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    event = await scene.event(capacity=2, starts=-0.5)
    ann, bob = await scene.person("ann"), await scene.person("bob")
    await scene.register(event, "ann", "bob", "carl")
    assert (await scene.check_in(event, ann))["errors"] == []
    rows = await door(client, event, scene.chris)
    assert [(r["Name"], r["Email"], r["Place"]) for r in rows] == [
        (ann.user.name, ann.email, "Attendee"),
        (bob.user.name, bob.email, "Attendee"),
        ((await scene.person("carl")).user.name, (await scene.person("carl")).email, "Waiting list"),
    ]
    assert [bool(r["Checked in"]) for r in rows] == [True, False, False]


async def test_the_door_shows_no_ones_name_by_their_address_nor_their_address_by_their_name(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    event = await scene.event()
    named, addressed = await scene.person("named"), await scene.person("addressed")
    await scene.world.mutate(
        "inviteToEvent", by=scene.chris, event=event, users=[ref(named)], emails=[addressed.email]
    )
    rows = {(r["Name"], r["Email"]) for r in await door(client, event, scene.chris)}
    assert rows == {(named.user.name, ""), ("", addressed.email)}


async def test_only_admins_get_the_list(client: httpx.AsyncClient, scene: EventScene) -> None:
    event = await scene.event()
    await scene.register(event, "ann")
    ann, kim = await scene.person("ann"), await scene.admin(scene.nonprofit, "kim")
    parameters = {"event": event["slug"]}
    assert (await client.get(ATTENDEES, params=parameters)).status_code == 401
    assert the_code(await client.get(ATTENDEES, params=parameters, headers=signed(ann))) == "FORBIDDEN"
    token = await scene.world.access_token(kim, "ORDERS", "CALENDAR")
    assert the_code(await client.get(ATTENDEES, params=parameters, headers=signed(token))) == "FORBIDDEN"
    assert len(await door(client, event, kim)) == 1
    for slug, code in (("none-such", "NOT_FOUND"), (scene.nonprofit.slug, "INVALID_INPUT")):
        answer = await client.get(ATTENDEES, params={"event": slug}, headers=signed(scene.chris))
        assert the_code(answer) == code


async def test_a_collectives_calendar_has_its_public_events_in_utc(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    # In the night to the last Sunday of October, 02:30 comes twice in Berlin.
    year = now().year + 1
    starts = datetime(year, 10, 31 - date(year, 10, 31).isoweekday() % 7, 0, 30, tzinfo=UTC)
    ends = starts + timedelta(hours=1)
    await scene.event(name="Public", timezone="Europe/Berlin", location="Platz, 1; hinten\nlinks")
    await scene.event(
        name="Night",
        timezone="Europe/Berlin",
        startsAt=starts.isoformat(),
        endsAt=ends.isoformat(),
    )
    await scene.event(name="Private", isPublic=False)
    events = await calendar(client, f"/calendar/{scene.nonprofit.slug}.ics")
    assert set(events) == {"Public", "Night"}
    night = events["Night"]
    assert (night["DTSTART"].dt, night["DTEND"].dt) == (starts, ends)
    assert night["DTSTART"].to_ical().endswith(b"Z")
    assert str(events["Public"]["LOCATION"]) == "Platz, 1; hinten\nlinks"
    assert night["STATUS"] == "CONFIRMED"


async def test_a_moved_or_cancelled_event_updates_what_calendars_have(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    event = await scene.event(name="Gala")
    path = f"/calendar/{event['slug']}.ics"
    first = (await calendar(client, path))["Gala"]
    async with scene.world.sessions() as session, session.begin():
        await session.execute(
            text("UPDATE collective SET created_at = created_at - interval '1 minute' WHERE slug = :s"),
            {"s": event["slug"]},
        )
    moved = event_times(48)
    await scene.world.mutate("updateEvent", by=scene.chris, event=event, **moved)
    second = (await calendar(client, path))["Gala"]
    assert second["UID"] == first["UID"]
    assert second["SEQUENCE"] > first["SEQUENCE"]
    assert second["DTSTART"].dt == datetime.fromisoformat(moved["startsAt"]).replace(microsecond=0)
    await scene.world.mutate("cancelEvent", by=scene.chris, event=event, reason="rain")
    third = (await calendar(client, path))["Gala"]
    assert (third["UID"], third["STATUS"]) == (first["UID"], "CANCELLED")
    assert third["SEQUENCE"] >= second["SEQUENCE"]
    assert third["LAST-MODIFIED"].dt >= second["LAST-MODIFIED"].dt


async def test_private_and_unknown_calendars_are_not_found(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    private, archived = await scene.event(isPublic=False), await scene.event()
    async with scene.world.sessions() as session, session.begin():
        statement = text("UPDATE collective SET archived_at = now() WHERE slug = :s")
        await session.execute(statement, {"s": archived["slug"]})
    for slug in (private["slug"], archived["slug"], "none-such"):
        answer = await client.get(f"/calendar/{slug}.ics", headers=signed(scene.chris))
        assert (answer.status_code, the_code(answer)) == (404, "NOT_FOUND")


async def test_an_unchanged_calendar_is_not_sent_again(client: httpx.AsyncClient, scene: EventScene) -> None:
    event = await scene.event()
    path = f"/calendar/{event['slug']}.ics"
    etag = (await client.get(path)).headers["etag"]
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 304


async def test_a_persons_calendar_has_their_registrations_until_the_token_is_revoked(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    ann = await scene.person("ann")
    full = await scene.event(name="Full", capacity=1)
    private = await scene.event(name="Gone")
    await scene.register(full, "bob", "ann")
    await scene.register(private, "ann")
    left = await scene.event(name="Left")
    await scene.register(left, "ann")
    await scene.world.mutate("cancelRegistration", by=ann, event=left)
    token, token_id = await calendar_token(scene, ann)
    events = await calendar(client, "/my-calendar.ics", token=token)
    assert {name: str(event["STATUS"]) for name, event in events.items()} == {
        "Full": "TENTATIVE",
        "Gone": "CONFIRMED",
    }
    await scene.world.mutate("cancelEvent", by=scene.chris, event=private)
    events = await calendar(client, "/my-calendar.ics", token=token)
    assert str(events["Gone"]["STATUS"]) == "CANCELLED"
    await scene.world.mutate("revokeAccessToken", by=ann, id=token_id)
    assert (await client.get("/my-calendar.ics", params={"token": token})).status_code == 401


async def test_only_a_calendars_token_opens_a_calendar_and_it_opens_nothing_else(
    client: httpx.AsyncClient, scene: EventScene
) -> None:
    ann = await scene.person("ann")
    await scene.register(await scene.event(), "ann")
    reading, _ = await calendar_token(scene, ann, "READ")
    for token, code in ((reading, "FORBIDDEN"), (ann.token, "UNAUTHENTICATED"), ("", "UNAUTHENTICATED")):
        assert the_code(await client.get("/my-calendar.ics", params={"token": token})) == code
    token, _ = await calendar_token(scene, ann)
    answer = await client.post("/graphql", json={"query": "{ me { name } }"}, headers=signed(token))
    assert answer.json()["errors"]
    assert await scene.world.scalar("SELECT count(*) FROM token WHERE token_hash = :t", t=token.encode()) == 0


async def test_mails_about_a_registration_bring_a_calendar_file(scene: EventScene) -> None:
    event = await scene.event(name="Gala", location="Hall")
    await scene.register(event, "ann")
    await scene.world.mutate("cancelEvent", by=scene.chris, event=event)
    entries: list[Any] = []
    for template in ("volunteer_confirmation", "event_cancelled"):
        async with scene.world.sessions() as session:
            row_id = await scene.world.scalar(
                "SELECT id FROM outbox WHERE template = :t AND recipient = :r",
                t=template,
                r=(await scene.person("ann")).email,
            )
            mail = await session.get_one(Outbox, row_id)
        message = build_message(mail, Links("https://commonweal.example"), locale=Locale.EN, stop_token=None)
        (attached,) = message.iter_attachments()
        assert (attached.get_content_type(), attached.get_filename()) == ("text/calendar", "event.ics")
        assert message.get_body(("plain",)) is not None
        (entry,) = Calendar.from_ical(attached.get_content()).walk("VEVENT")
        entries.append(entry)
    first, last = entries
    assert (str(first["SUMMARY"]), str(first["LOCATION"]), str(first["STATUS"])) == (
        "Gala",
        "Hall",
        "CONFIRMED",
    )
    assert (last["UID"], str(last["STATUS"])) == (first["UID"], "CANCELLED")
    assert int(str(last["SEQUENCE"])) >= int(str(first["SEQUENCE"]))
