"""Making, changing, renaming and putting away collectives and events."""

import asyncio
from typing import Any

import pytest

from models.enums import CollectiveType, MemberRole
from services.core.slugs import RESERVED
from tests.factories import Person, World, money, of

CLUB: dict[str, Any] = {"type": "COMMUNITY", "name": "Club", "slug": "club", "currency": "USD"}
FIELDS = "collective { id slug type name currency isArchived host { slug } }"
EVENT: dict[str, Any] = {"name": "Ball", "startsAt": "2030-01-01T10:00Z", "endsAt": "2030-01-01T12:00Z"}


def codes(done: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    return [(error["code"], error["path"]) for error in done["errors"]]


async def refused(
    world: World, mutation: str, code: str, path: list[str] | None, *, by: Person, **given: Any
) -> None:
    """Assert that a mutation is refused with one code and path, and changes nothing."""
    before = await world.fingerprint()
    done = await world.do(mutation, by=by, **given)
    assert codes(done) == [(code, path)]
    assert await world.fingerprint() == before


async def edit(world: World, by: Person, known_as: str, /, **changes: Any) -> dict[str, Any]:
    done = await world.do("updateCollective", FIELDS, by=by, collective={"slug": known_as}, **changes)
    assert done["errors"] == [], done
    found: dict[str, Any] = done["collective"]
    return found


async def slug_leads_to(world: World, slug: str) -> str | None:
    found = (await world.ask("query($s: String!) { collective(slug: $s) { slug } }", s=slug))["collective"]
    return found["slug"] if found else None


@pytest.mark.parametrize(
    ("kind", "is_host"),
    [
        ("COMMUNITY", False),
        ("NONPROFIT", False),
        ("NONPROFIT", True),
        ("BUSINESS", False),
        ("BUSINESS", True),
    ],
)
async def test_the_maker_is_admin_and_a_host_has_a_book(world: World, kind: str, is_host: bool) -> None:
    ada = await world.person("ada")
    made = await world.do("createCollective", FIELDS, by=ada, **(CLUB | {"type": kind, "isHost": is_host}))
    assert made["errors"] == []
    host = {"slug": "club"} if is_host else None
    assert made["collective"]["host"] == host
    assert (made["collective"]["type"], made["collective"]["isArchived"]) == (kind, False)
    members = await world.ask(
        '{ collective(slug: "club") { members { nodes { role member { slug } } } } }', by=ada
    )
    rows = [(m["role"], m["member"]["slug"]) for m in members["collective"]["members"]["nodes"]]
    assert sorted(rows) == [("ADMIN", "ada"), *([("HOST", "club")] if is_host else [])]
    assert await world.scalar("SELECT count(*) FROM ledger_account WHERE currency = 'USD'") == 1 + is_host
    assert (await edit(world, ada, "club", description="Ours"))["slug"] == "club"


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"type": "USER"}, "INVALID_INPUT", "type"),
        ({"type": "EVENT"}, "INVALID_INPUT", "type"),
        ({"isHost": True}, "INVALID_INPUT", "isHost"),
        ({"name": " "}, "INVALID_INPUT", "name"),
        ({"name": "x" * 201}, "INVALID_INPUT", "name"),
        ({"currency": "XYZ"}, "INVALID_INPUT", "currency"),
        ({"currency": "CUR"}, "INVALID_INPUT", "currency"),
        ({"slug": "commonweal"}, "CONFLICT", "slug"),
        ({"slug": "ada"}, "CONFLICT", "slug"),
        *(
            ({"slug": slug}, "INVALID_INPUT", "slug")
            for slug in (
                "",
                "a",
                "x" * 65,
                "Club",
                "-club",
                "club-",
                "a--b",
                "a_b",
                "a b",
                "clüb",
                "club\n",
                "\x07",
            )
        ),
    ],
)
async def test_a_collective_that_cannot_be(world: World, given: dict[str, Any], code: str, path: str) -> None:
    ada = await world.person("ada")
    await refused(world, "createCollective", code, ["input", path], by=ada, **(CLUB | given))


async def test_no_reserved_slug_is_given(world: World) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    before = await world.fingerprint()
    for slug in sorted(RESERVED):
        done = await world.do("createCollective", by=ada, **(CLUB | {"slug": slug}))
        assert codes(done) == [("INVALID_INPUT", ["input", "slug"])], slug
    done = await world.do("updateCollective", by=ada, collective=of(club), slug=min(RESERVED))
    assert codes(done) == [("INVALID_INPUT", ["input", "slug"])]
    assert await world.fingerprint() == before


async def test_one_of_many_gets_a_slug(world: World) -> None:
    people = [await world.person(f"person-{i}") for i in range(6)]
    done = await asyncio.gather(*(world.do("createCollective", by=p, **CLUB) for p in people))
    found = sorted(str(codes(answer)[0][0]) if answer["errors"] else "" for answer in done)
    assert found == ["", *["CONFLICT"] * 5]


async def test_old_slugs_keep_leading_and_only_their_owner_takes_them_back(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await world.community("first", None, ada)
    other = await world.community("other", None, eve)
    await edit(world, ada, "first", slug="second")
    await edit(world, ada, "first", slug="third")
    for slug in ("first", "second", "third", "FIRST"):
        assert await slug_leads_to(world, slug) == "third"
    for slug in ("first", "second", "third"):
        path = ["input", "slug"]
        await refused(world, "createCollective", "CONFLICT", path, by=eve, **(CLUB | {"slug": slug}))
        await refused(world, "updateCollective", "CONFLICT", path, by=eve, collective=of(other), slug=slug)
    assert (await edit(world, ada, "second", slug="first"))["slug"] == "first"
    for slug in ("first", "second", "third"):
        assert await slug_leads_to(world, slug) == "first"
    assert (await edit(world, ada, "third", slug="first"))["slug"] == "first"
    await refused(
        world, "createCollective", "CONFLICT", ["input", "slug"], by=eve, **(CLUB | {"slug": "third"})
    )
    assert await slug_leads_to(world, "fourth") is None


async def test_every_field_is_set_and_cleared_and_what_is_not_given_stays(world: World) -> None:
    ada = await world.person("ada")
    await world.community("club", None, ada)
    given: dict[str, Any] = {
        "name": "The club",
        "legalName": "Club e.V.",
        "description": "Ours",
        "website": "https://club.example",
        "location": "Berlin",
        "timezone": "Europe/Berlin",
        "imageUrl": "https://club.example/i.png",
        "tags": ["sport", "fun"],
        "currency": "EUR",
    }
    await edit(world, ada, "club", **given)
    fields = " ".join(given)
    query = f'{{ collective(slug: "club") {{ {fields} }} }}'
    assert (await world.ask(query, by=ada))["collective"] == given
    await edit(world, ada, "club", description="Still ours")
    assert (await world.ask(query, by=ada))["collective"] == given | {"description": "Still ours"}
    cleared = [name for name in given if name not in {"name", "currency"}]
    await edit(world, ada, "club", **dict.fromkeys(cleared))
    empty = dict.fromkeys(cleared) | {"tags": [], "name": "The club", "currency": "EUR"}
    assert (await world.ask(query, by=ada))["collective"] == empty


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"slug": None}, "slug"),
        ({"slug": "a"}, "slug"),
        ({"currency": None}, "currency"),
        ({"currency": "CUR"}, "currency"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "\x07"}, "timezone"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["x" * 41]}, "tags"),
        ({"description": "\x07"}, "description"),
        ({"legalName": "x" * 10_001}, "legalName"),
        ({"name": "kept out", "imageUrl": "\x07"}, "imageUrl"),
    ],
)
async def test_a_change_that_cannot_be(world: World, changes: dict[str, Any], path: str) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    await refused(
        world, "updateCollective", "INVALID_INPUT", ["input", path], by=ada, collective=of(club), **changes
    )


async def test_the_currency_changes_until_money_has_moved(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    host = await world.host("host", holder)
    club = await world.community("club", host, ada)
    assert (await edit(world, ada, "club", currency="EUR"))["currency"] == "EUR"
    await world.rate("EUR", "USD", "1.10")
    club.currency = "EUR"
    await world.fund(club, "10.00", by=holder)
    assert await world.balance(club) == (1000, 0)
    for slug, by in (("club", ada), ("host", holder)):
        path = ["input", "currency"]
        await refused(
            world, "updateCollective", "INVALID_STATE", path, by=by, collective={"slug": slug}, currency="GBP"
        )
    assert (await edit(world, ada, "club", currency="EUR"))["currency"] == "EUR"
    await world.audit_is_clean()


async def test_the_currency_does_not_change_under_an_open_order(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada)
    await world.rate("USD", "JPY", "150")
    pending: dict[str, Any] = {"from": of(ada), "to": of(club), "amount": money("100.00")}
    asked = await world.do("donate", "order { id }", by=ada, paymentMethod="MANUAL", **pending)
    changed = await world.do("updateCollective", by=ada, collective=of(club), currency="JPY")
    assert codes(changed) == [("INVALID_STATE", ["input", "currency"])]
    await world.do("approveOrder", by=holder, id=asked["order"]["id"])
    assert await world.balance(club) == (10000, 0)
    await world.audit_is_clean()


async def test_an_event_inherits_and_holds_members_but_no_money(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada, currency="EUR")
    made = await world.do(
        "createEvent",
        """event { slug type currency timezone isPublic capacity creditPolicy parent { slug } host { slug }
            members { nodes { role member { slug } } } balances { currency } }""",
        by=ada,
        parent=of(club),
        **EVENT,
        capacity=20,
        timezone="Europe/Berlin",
    )
    assert made["errors"] == []
    event = made["event"]
    assert event.pop("slug").startswith("ball-")
    assert event == {
        "type": "EVENT",
        "currency": "EUR",
        "timezone": "Europe/Berlin",
        "isPublic": True,
        "capacity": 20,
        "creditPolicy": "FULL_EVENT",
        "parent": {"slug": "club"},
        "host": {"slug": "host"},
        "balances": [],
        "members": {"nodes": [{"role": "ADMIN", "member": {"slug": "ada"}}]},
    }


@pytest.mark.parametrize(
    "kind", [CollectiveType.COMMUNITY, CollectiveType.NONPROFIT, CollectiveType.BUSINESS]
)
async def test_events_of_each_kind_of_parent_come_by_their_start(world: World, kind: CollectiveType) -> None:
    ada = await world.person("ada")
    row = await world.community("club", None, type=kind)
    await world.member(row, ada, MemberRole.ADMIN)
    for day in (3, 1, 2):
        moments = {"startsAt": f"2030-01-0{day}T10:00+02:00", "endsAt": f"2030-01-0{day}T11:00+02:00"}
        made = await world.do("createEvent", by=ada, parent=of(row), **(EVENT | moments))
        assert made["errors"] == []
    found = await world.ask('{ collective(slug: "club") { events { totalCount nodes { startsAt } } } }')
    assert found["collective"]["events"] == {
        "totalCount": 3,
        "nodes": [{"startsAt": f"2030-01-0{day}T08:00:00.000000Z"} for day in (1, 2, 3)],
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": ""}, "name"),
        ({"endsAt": "2030-01-01T10:00Z"}, "endsAt"),
        ({"endsAt": "2029-01-01T10:00Z"}, "endsAt"),
        ({"capacity": 0}, "capacity"),
        ({"timezone": "nowhere"}, "timezone"),
        ({"creditPolicy": "SOMETIMES"}, "creditPolicy"),
        ({"parent": {"slug": "ada"}}, "parent"),
    ],
)
async def test_an_event_that_cannot_be(world: World, given: dict[str, Any], path: str) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    event: dict[str, Any] = {"parent": of(club)} | EVENT | given
    await refused(world, "createEvent", "INVALID_INPUT", ["input", path], by=ada, **event)


async def test_an_event_has_no_event_and_no_order_and_keeps_its_parents_currency(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada)
    event = (await world.do("createEvent", "event { slug }", by=ada, parent=of(club), **EVENT))["event"]
    invalid = "INVALID_INPUT"
    await refused(world, "createEvent", invalid, ["input", "parent"], by=ada, parent=event, **EVENT)
    sides: dict[str, Any] = {"from": of(ada), "to": event, "amount": money("1.00"), "paymentMethod": "MANUAL"}
    await refused(world, "donate", invalid, ["input", "to"], by=ada, **sides)
    path = ["input", "currency"]
    await refused(world, "updateCollective", invalid, path, by=ada, collective=event, currency="EUR")


async def test_archiving_is_refused_while_something_remains(world: World) -> None:
    ada, bob, holder = [await world.person(slug) for slug in ("ada", "bob", "holder")]
    host = await world.host("host", holder)
    club = await world.community("club", host, ada)
    await world.fund(club, "10.00", by=holder)
    state, path = "INVALID_STATE", ["input", "collective"]

    async def cannot(slug: str, by: Person) -> None:
        await refused(world, "archiveCollective", state, path, by=by, collective={"slug": slug})

    for slug, by in (("club", ada), ("host", holder), ("commonweal", world.admin)):
        await cannot(slug, by)  # a balance; a balance of others in the book; the platform
    bill: dict[str, Any] = {"from": of(club), "to": of(bob), "amount": money("10.00")}
    asked = await world.do("submitExpense", "order { id }", by=bob, **bill)
    await cannot("bob", bob)
    await world.do("approveOrder", by=ada, id=asked["order"]["id"])
    await cannot("club", ada)  # a hold
    await world.do("payOrder", by=holder, id=asked["order"]["id"])
    await cannot("host", holder)  # hosts another
    gift: dict[str, Any] = {
        "from": of(bob),
        "to": of(club),
        "amount": money("1.00"),
        "paymentMethod": "MANUAL",
    }
    asked = await world.do("donate", "order { id }", by=bob, **gift)
    await cannot("club", ada)  # an order
    await world.do("cancelOrder", by=bob, id=asked["order"]["id"])
    for slug, by in (("club", ada), ("club", ada), ("host", holder)):
        done = await world.do("archiveCollective", FIELDS, by=by, collective={"slug": slug})
        assert (done["errors"], done["collective"]["isArchived"]) == ([], True)
    listed = await world.ask(
        """{ collectives { nodes { slug } }
            all: collectives(filter: { isArchived: true }) { nodes { slug } } }"""
    )
    assert not {"club", "host"} & {row["slug"] for row in listed["collectives"]["nodes"]}
    assert {row["slug"] for row in listed["all"]["nodes"]} == {"club", "host"}


async def test_an_archived_collective_takes_part_in_nothing(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    host = await world.host("host", holder)
    club = await world.community("club", None, ada)
    await world.do("archiveCollective", by=ada, collective=of(club))
    state, mine = "INVALID_STATE", {"collective": of(club)}
    row = ["input", "collective"]
    await refused(world, "updateCollective", state, row, by=ada, **mine, name="x")
    await refused(world, "inviteMember", state, row, by=ada, **mine, role="MEMBER", user=of(holder))
    await refused(world, "followCollective", state, row, by=holder, **mine)
    await refused(world, "applyToHost", state, row, by=ada, **mine, host=of(host))
    await refused(world, "createEvent", state, ["input", "parent"], by=ada, parent=of(club), **EVENT)
    assert await slug_leads_to(world, "club") == "club"


async def test_of_archiving_and_a_new_order_at_once_one_wins(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    host = await world.host("host")
    for turn in range(5):
        club = await world.community(f"club-{turn}", host, ada)
        gift: dict[str, Any] = {"from": of(bob), "to": of(club), "amount": money("1.00")}
        archived, asked = await asyncio.gather(
            world.do("archiveCollective", by=ada, collective=of(club)),
            world.do("donate", by=bob, paymentMethod="MANUAL", **gift),
        )
        assert (archived["errors"] == []) != (asked["errors"] == [])


async def test_a_collective_may_be_used_by_the_next_field_of_the_operation_that_makes_it(
    world: World,
) -> None:
    ada = await world.person("ada")
    body = await world.execute(
        """mutation($new: CreateCollectiveInput!, $change: UpdateCollectiveInput!) {
            createCollective(input: $new) { errors { code } }
            updateCollective(input: $change) { errors { code } collective { description } } }""",
        by=ada,
        new=CLUB,
        change={"collective": {"slug": "club"}, "description": "Ours"},
    )
    assert body.get("errors") is None
    assert body["data"]["updateCollective"] == {"errors": [], "collective": {"description": "Ours"}}
