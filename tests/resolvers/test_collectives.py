"""Creating, changing, renaming and archiving collectives and events."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from models.enums import CollectiveType, MemberRole
from services.core.slugs import RESERVED
from tests.factories import Person, World, error_codes, money, ref

CLUB: dict[str, Any] = {"type": "COMMUNITY", "name": "Club", "slug": "club", "currency": "USD"}
FIELDS = "collective { id slug type name currency isArchived host { slug } }"
EVENT: dict[str, Any] = {"name": "Ball", "startsAt": "2030-01-01T10:00Z", "endsAt": "2030-01-01T12:00Z"}


async def edit(world: World, by: Person, known_as: str, /, **changes: Any) -> dict[str, Any]:
    payload = await world.mutate("updateCollective", FIELDS, by=by, collective={"slug": known_as}, **changes)
    assert payload["errors"] == [], payload
    collective: dict[str, Any] = payload["collective"]
    return collective


async def slug_leads_to(world: World, slug: str) -> str | None:
    collective = (await world.query("query($s: String!) { collective(slug: $s) { slug } }", s=slug))[
        "collective"
    ]
    return collective["slug"] if collective else None


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
async def test_the_creator_is_admin_and_there_is_no_book_before_approval(
    world: World, kind: str, is_host: bool
) -> None:
    ada = await world.person("ada")
    payload = await world.mutate(
        "createCollective", FIELDS, by=ada, **(CLUB | {"type": kind, "isHost": is_host})
    )
    assert payload["errors"] == []
    assert payload["collective"]["host"] is None
    assert (payload["collective"]["type"], payload["collective"]["isArchived"]) == (kind, False)
    members = await world.query(
        '{ collective(slug: "club") { members { nodes { role member { slug } } } } }', by=ada
    )
    rows = [(m["role"], m["member"]["slug"]) for m in members["collective"]["members"]["nodes"]]
    assert rows == [("ADMIN", "ada")]
    assert await world.scalar("SELECT count(*) FROM ledger_account WHERE currency = 'USD'") == 1
    assert await world.scalar("SELECT count(*) FROM host_application") == is_host
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
async def test_an_invalid_collective_is_refused(
    world: World, given: dict[str, Any], code: str, path: str
) -> None:
    ada = await world.person("ada")
    await world.expect_problem("createCollective", code, ["input", path], by=ada, **(CLUB | given))


async def test_a_new_collective_has_its_tags(world: World) -> None:
    ada = await world.person("ada")
    tags = ["Caf\u00e9", "cafe", "music"]
    payload = await world.mutate("createCollective", "collective { tags }", by=ada, **CLUB | {"tags": tags})
    assert payload == {"collective": {"tags": ["Caf\u00e9", "music"]}, "errors": []}


async def test_reserved_slugs_are_refused(world: World) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    before = await world.fingerprint()
    for slug in sorted(RESERVED):
        payload = await world.mutate("createCollective", by=ada, **(CLUB | {"slug": slug}))
        assert error_codes(payload) == [("INVALID_INPUT", ["input", "slug"])], slug
    payload = await world.mutate("updateCollective", by=ada, collective=ref(club), slug=min(RESERVED))
    assert error_codes(payload) == [("INVALID_INPUT", ["input", "slug"])]
    assert await world.fingerprint() == before


async def test_concurrent_requests_for_a_slug_create_one_collective(world: World) -> None:
    people = [await world.person(f"person-{i}") for i in range(6)]
    payloads = await asyncio.gather(*(world.mutate("createCollective", by=p, **CLUB) for p in people))
    results = sorted(str(error_codes(answer)[0][0]) if answer["errors"] else "" for answer in payloads)
    assert results == ["", *["CONFLICT"] * 5]


async def test_old_slugs_redirect_and_only_their_owner_can_reuse_them(world: World) -> None:
    ada, eve = await world.person("ada"), await world.person("eve")
    await world.community("first", None, ada)
    other = await world.community("other", None, eve)
    await edit(world, ada, "first", slug="second")
    await edit(world, ada, "first", slug="third")
    for slug in ("first", "second", "third", "FIRST"):
        assert await slug_leads_to(world, slug) == "third"
    for slug in ("first", "second", "third"):
        path = ["input", "slug"]
        await world.expect_problem("createCollective", "CONFLICT", path, by=eve, **(CLUB | {"slug": slug}))
        await world.expect_problem(
            "updateCollective", "CONFLICT", path, by=eve, collective=ref(other), slug=slug
        )
    assert (await edit(world, ada, "second", slug="first"))["slug"] == "first"
    for slug in ("first", "second", "third"):
        assert await slug_leads_to(world, slug) == "first"
    assert (await edit(world, ada, "third", slug="first"))["slug"] == "first"
    await world.expect_problem(
        "createCollective", "CONFLICT", ["input", "slug"], by=eve, **(CLUB | {"slug": "third"})
    )
    assert await slug_leads_to(world, "fourth") is None


async def test_fields_are_set_and_cleared_and_omitted_ones_stay(world: World) -> None:
    ada = await world.person("ada")
    await world.community("club", None, ada)
    arguments: dict[str, Any] = {
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
    await edit(world, ada, "club", **arguments)
    fields = " ".join(arguments)
    query = f'{{ collective(slug: "club") {{ {fields} }} }}'
    assert (await world.query(query, by=ada))["collective"] == arguments
    await edit(world, ada, "club", description="Still ours")
    assert (await world.query(query, by=ada))["collective"] == arguments | {"description": "Still ours"}
    cleared = [name for name in arguments if name not in {"name", "currency"}]
    await edit(world, ada, "club", **dict.fromkeys(cleared))
    empty = dict.fromkeys(cleared) | {"tags": [], "name": "The club", "currency": "EUR"}
    assert (await world.query(query, by=ada))["collective"] == empty


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"slug": None}, "slug"),
        ({"slug": "a"}, "slug"),
        ({"currency": None}, "currency"),
        ({"currency": "CUR"}, "currency"),
        ({"website": "javascript:alert(1)"}, "website"),
        ({"website": "http://x y"}, "website"),
        ({"website": "https://user:pw@example.org"}, "website"),
        ({"website": "example.org"}, "website"),
        ({"imageUrl": "data:image/png;base64,AA"}, "imageUrl"),
        ({"imageUrl": "https://"}, "imageUrl"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "\x07"}, "timezone"),
        ({"tags": [""]}, "tags"),
        ({"tags": ["x" * 41]}, "tags"),
        ({"description": "\x07"}, "description"),
        ({"legalName": "x" * 10_001}, "legalName"),
        ({"name": "kept out", "imageUrl": "\x07"}, "imageUrl"),
    ],
)
async def test_an_invalid_change_is_refused(world: World, changes: dict[str, Any], path: str) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    await world.expect_problem(
        "updateCollective", "INVALID_INPUT", ["input", path], by=ada, collective=ref(club), **changes
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
        await world.expect_problem(
            "updateCollective", "INVALID_STATE", path, by=by, collective={"slug": slug}, currency="GBP"
        )
    assert (await edit(world, ada, "club", currency="EUR"))["currency"] == "EUR"
    await world.assert_clean_ledger()


async def test_the_currency_does_not_change_under_an_open_order(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada)
    await world.rate("USD", "JPY", "150")
    pending: dict[str, Any] = {"from": ref(ada), "to": ref(club), "amount": money("100.00")}
    payload = await world.mutate("donate", "order { id }", by=ada, paymentMethod="MANUAL", **pending)
    changed = await world.mutate("updateCollective", by=ada, collective=ref(club), currency="JPY")
    assert error_codes(changed) == [("INVALID_STATE", ["input", "currency"])]
    await world.mutate("approveOrder", by=holder, id=payload["order"]["id"])
    assert await world.balance(club) == (10000, 0)
    await world.assert_clean_ledger()


async def test_an_older_name_of_a_time_zone_is_stored_by_the_present_one(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada)
    payload = await world.mutate(
        "updateCollective", "collective { timezone }", by=ada, collective=ref(club), timezone="Asia/Calcutta"
    )
    assert payload == {"collective": {"timezone": "Asia/Kolkata"}, "errors": []}


async def test_an_event_inherits_and_holds_members_but_no_money(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada, currency="EUR")
    payload = await world.mutate(
        "createEvent",
        """event { slug type currency timezone isPublic capacity creditPolicy parent { slug } host { slug }
            members { nodes { role member { slug } } } balances { currency } }""",
        by=ada,
        parent=ref(club),
        **EVENT,
        capacity=20,
        timezone="Europe/Berlin",
    )
    assert payload["errors"] == []
    event = payload["event"]
    assert event.pop("slug") == "ball"
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
async def test_events_are_sorted_by_start_for_every_type_of_parent(
    world: World, kind: CollectiveType
) -> None:
    ada = await world.person("ada")
    row = await world.community("club", None, collective_type=kind)
    await world.member(row, ada, MemberRole.ADMIN)
    for day in (3, 1, 2):
        moments = {"startsAt": f"2030-01-0{day}T10:00+02:00", "endsAt": f"2030-01-0{day}T11:00+02:00"}
        payload = await world.mutate("createEvent", by=ada, parent=ref(row), **(EVENT | moments))
        assert payload["errors"] == []
    data = await world.query('{ collective(slug: "club") { events { totalCount nodes { startsAt } } } }')
    assert data["collective"]["events"] == {
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
async def test_an_invalid_event_is_refused(world: World, given: dict[str, Any], path: str) -> None:
    ada = await world.person("ada")
    club = await world.community("club", None, ada)
    event: dict[str, Any] = {"parent": ref(club)} | EVENT | given
    await world.expect_problem("createEvent", "INVALID_INPUT", ["input", path], by=ada, **event)


async def test_an_event_has_no_events_no_orders_and_its_parents_currency(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    club = await world.community("club", await world.host("host", holder), ada)
    event = (await world.mutate("createEvent", "event { slug }", by=ada, parent=ref(club), **EVENT))["event"]
    invalid = "INVALID_INPUT"
    await world.expect_problem("createEvent", invalid, ["input", "parent"], by=ada, parent=event, **EVENT)
    sides: dict[str, Any] = {
        "from": ref(ada),
        "to": event,
        "amount": money("1.00"),
        "paymentMethod": "MANUAL",
    }
    await world.expect_problem("donate", invalid, ["input", "to"], by=ada, **sides)
    path = ["input", "currency"]
    await world.expect_problem("updateCollective", invalid, path, by=ada, collective=event, currency="EUR")


async def test_archiving_is_refused_while_a_balance_or_an_open_order_remains(world: World) -> None:
    ada, bob, holder = [await world.person(slug) for slug in ("ada", "bob", "holder")]
    host = await world.host("host", holder)
    club = await world.community("club", host, ada)
    await world.fund(club, "10.00", by=holder)
    state, path = "INVALID_STATE", ["input", "collective"]

    async def cannot(slug: str, by: Person) -> None:
        await world.expect_problem("archiveCollective", state, path, by=by, collective={"slug": slug})

    for slug, by in (("club", ada), ("host", holder), ("commonweal", world.admin)):
        await cannot(slug, by)  # a balance; a balance of others in the book; the platform
    bill: dict[str, Any] = {"from": ref(club), "to": ref(bob), "amount": money("10.00")}
    payload = await world.mutate("submitExpense", "order { id }", by=bob, **bill)
    await cannot("bob", bob)
    await world.mutate("approveOrder", by=ada, id=payload["order"]["id"])
    await cannot("club", ada)  # a hold
    await world.mutate("payOrder", by=holder, id=payload["order"]["id"])
    await cannot("host", holder)  # hosts another
    donation: dict[str, Any] = {
        "from": ref(bob),
        "to": ref(club),
        "amount": money("1.00"),
        "paymentMethod": "MANUAL",
    }
    payload = await world.mutate("donate", "order { id }", by=bob, **donation)
    await cannot("club", ada)  # an order
    await world.mutate("cancelOrder", by=bob, id=payload["order"]["id"])
    for slug, by in (("club", ada), ("club", ada), ("host", holder)):
        result = await world.mutate("archiveCollective", FIELDS, by=by, collective={"slug": slug})
        assert (result["errors"], result["collective"]["isArchived"]) == ([], True)
    listed = await world.query(
        """{ collectives { nodes { slug } }
            all: collectives(filter: { isArchived: true }) { nodes { slug } } }"""
    )
    assert not {"club", "host"} & {row["slug"] for row in listed["collectives"]["nodes"]}
    assert {row["slug"] for row in listed["all"]["nodes"]} == {"club", "host"}


async def test_an_archived_collective_refuses_every_mutation(world: World) -> None:
    ada, holder = await world.person("ada"), await world.person("holder")
    host = await world.host("host", holder)
    club = await world.community("club", None, ada)
    await world.mutate("archiveCollective", by=ada, collective=ref(club))
    state, mine = "INVALID_STATE", {"collective": ref(club)}
    row = ["input", "collective"]
    await world.expect_problem("updateCollective", state, row, by=ada, **mine, name="x")
    await world.expect_problem("inviteMember", state, row, by=ada, **mine, role="MEMBER", user=ref(holder))
    await world.expect_problem("followCollective", state, row, by=holder, **mine)
    await world.expect_problem("applyToHost", state, row, by=ada, **mine, host=ref(host))
    await world.expect_problem("createEvent", state, ["input", "parent"], by=ada, parent=ref(club), **EVENT)
    assert await slug_leads_to(world, "club") == "club"


async def test_archiving_and_a_concurrent_order_exclude_each_other(world: World) -> None:
    ada, bob = await world.person("ada"), await world.person("bob")
    host = await world.host("host")
    for turn in range(5):
        club = await world.community(f"club-{turn}", host, ada)
        donation: dict[str, Any] = {"from": ref(bob), "to": ref(club), "amount": money("1.00")}
        archived, payloads = await asyncio.gather(
            world.mutate("archiveCollective", by=ada, collective=ref(club)),
            world.mutate("donate", by=bob, paymentMethod="MANUAL", **donation),
        )
        assert (archived["errors"] == []) != (payloads["errors"] == [])


async def test_the_next_field_of_an_operation_can_use_a_new_collective(
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


async def test_a_user_creates_few_collectives_a_day(world: World) -> None:
    world.settings = replace(world.settings, collectives_per_day=2)
    ada, bob = await world.person("ada"), await world.person("bob")
    taken = await world.mutate("createCollective", by=ada, **CLUB | {"slug": "Not a slug"})
    assert error_codes(taken) == [("INVALID_INPUT", ["input", "slug"])]  # what fails does not count
    answers = await asyncio.gather(
        *(world.mutate("createCollective", by=ada, **CLUB | {"slug": f"club-{i}"}) for i in range(4))
    )
    codes = sorted(error["code"] for answer in answers for error in answer["errors"])
    assert codes == ["RATE_LIMITED", "RATE_LIMITED"]
    assert error_codes(await world.mutate("createCollective", by=bob, **CLUB)) == []
