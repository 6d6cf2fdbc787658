"""Search and tags: accents, case, composition and order do not matter, and nothing hidden is found."""

import unicodedata
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from models import now
from models.enums import CollectiveType, MemberRole
from services.core.text_folding import fold_text
from services.search.highlights import EXCERPT_LENGTH
from tests.conftest import Database
from tests.factories import Person, World, ref
from tests.statement_counts import record_statements, without_control

SEARCH = """query($q: String!, $t: [SearchType!], $n: Int, $a: String) {
    search(query: $q, types: $t, first: $n, after: $a) {
        nodes { item { __typename ... on Collective { slug } ... on Offer { item } } }
        pageInfo { hasNextPage hasPreviousPage endCursor } totalCount } }"""
HIGHLIGHTS = """query($q: String!) {
    search(query: $q) { nodes { highlights { field parts { text isMatch } } } } }"""
TAGS = "query($n: Int) { tags(first: $n) { name count } }"


async def found(world: World, query: str, *, by: Person | None = None, **variables: Any) -> list[str]:
    """Return the slugs and items that a search finds, in order."""
    page = (await world.query(SEARCH, by=by, q=query, **variables))["search"]
    items = [node["item"] for node in page["nodes"]]
    assert page["totalCount"] >= len(items)
    return [item.get("slug") or item["item"] for item in items]


async def listed(world: World, **conditions: Any) -> list[str]:
    """Return the slugs of the collectives that a filter leaves, by name."""
    query = """query($f: CollectiveFilter) {
        collectives(filter: $f, orderBy: NAME_ASC) { nodes { slug } } }"""
    nodes = (await world.query(query, f=conditions))["collectives"]["nodes"]
    return [node["slug"] for node in nodes]


async def named(world: World, slug: str, name: str, admin: Person, **columns: Any) -> Any:
    """Create a community with a name and other columns."""
    kind = columns.pop("kind", CollectiveType.COMMUNITY)
    row = await world.community(slug, None, admin, collective_type=kind)
    row.name = name
    for column, value in columns.items():
        setattr(row, column, value)
    await world.add(row)
    return row


@pytest.mark.parametrize(
    ("name", "queries"),
    [
        ("Zürich hilft", ["zurich", "ZÜRICH", "zür", "hilft zurich", "Zurich"]),
        ("Café Molière", ["cafe", "Cafe\N{COMBINING ACUTE ACCENT}", "CAFÉ", "moliere cafe", "Molie"]),
        ("Cafe\N{COMBINING ACUTE ACCENT} Nord", ["Café", "cafe nord"]),
        ("Zürcher Straße, Zürich", ["strasse zürich", "STRASSE", "Straße", "zurich strasse zurcher"]),
        ("Łódź & Ærø", ["lodz", "aero", "Ærø łódź"]),
        ("ΑΘΗΝΑ", ["Αθήνα", "αθην"]),
        ("ДЛИНЫЙ ДЕНЬ", ["длиныи", "ДЛИН день"]),
        ("東京ボランティア", ["東京", "東京ボラ"]),
        ("O'Neill & Söhne (e.V.)", ["o'neill", "sohne neill", "e.v."]),
    ],
)
async def test_spelling_does_not_matter(shared: World, name: str, queries: list[str]) -> None:
    slug = f"named-{fold_text(name).encode().hex()[:40]}"
    admin = await shared.person(f"admin-{slug[6:26]}-{len(name)}")
    await named(shared, slug, name, admin)
    for query in queries:
        assert slug in await found(shared, query), query
        assert slug in await listed(shared, search=query), query
    assert slug not in await found(shared, "unheard")


async def test_the_database_and_python_fold_alike(shared_database: Database) -> None:
    letters = [
        f"a{chr(code)}b"
        for code in [*range(1, 0x2000), 0xFB01, 0xFF21]
        if unicodedata.category(chr(code)) not in {"Cn", "Cs"}
    ]
    with psycopg.connect(shared_database.app_url) as connection:
        rows = connection.execute("SELECT t, fold_text(t) FROM unnest(%s::text[]) AS t", [letters]).fetchall()
    assert len(rows) == len(letters) > 5000
    assert [(text, folded) for text, folded in rows if fold_text(text) != folded] == []


async def test_the_best_match_comes_first_and_pages_have_no_gaps(world: World) -> None:
    ann = await world.person("ann")
    await named(world, "first", "Help", ann)
    await named(world, "in-name", "Neighbours help", ann)
    await named(world, "in-tag", "Tagged", ann, tags=["help"])
    await named(world, "in-text", "Other", ann, description="We help " + "and so on " * 20)
    whole = await found(world, "HELP")
    assert whole == ["first", "in-name", "in-tag", "in-text"]
    after, seen = None, []
    while True:
        page = (await world.query(SEARCH, q="help", n=1, a=after))["search"]
        seen += [node["item"]["slug"] for node in page["nodes"]]
        assert (page["totalCount"], page["pageInfo"]["hasPreviousPage"]) == (4, after is not None)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == whole
    backward = SEARCH.replace("first: $n, after: $a", "last: $n, before: $a")
    end = (await world.query(backward, q="help", n=3))["search"]
    assert [node["item"]["slug"] for node in end["nodes"]] == whole[1:]
    assert end["pageInfo"]["hasPreviousPage"] is True
    assert await found(world, "help neighbours") == ["in-name"]  # all words, where something has them
    assert set(await found(world, "neighbours unheard")) == {"in-name"}  # else some of them


async def test_offers_and_types(world: World) -> None:
    ann = await world.person("ann")
    shop = await named(world, "shop", "Crêperie", ann, kind=CollectiveType.BUSINESS)
    for item, text in (("Crêpe au sucre", None), ("Thé", "With a crepe")):
        payload = await world.mutate(
            "createOffer", by=ann, business=ref(shop), item=item, currentsSharePercent=5, description=text
        )
        assert payload["errors"] == []
    assert await found(world, "crepe", t=["OFFER"]) == ["Crêpe au sucre", "Thé"]
    assert set(await found(world, "crepe")) == {"shop", "Crêpe au sucre", "Thé"}
    assert await found(world, "crepe", t=["BUSINESS"]) == ["shop"]
    assert await found(world, "crepe", t=["EVENT", "USER"]) == []
    offers = await world.query('{ offers(filter: {search: "the"}) { nodes { item } } }')
    assert [node["item"] for node in offers["offers"]["nodes"]] == ["Thé"]


async def test_what_may_not_be_seen_is_not_found(world: World) -> None:
    ann, bob = await world.person("ann"), await world.person("bob")
    await world.person("quokka-unclaimed", claimed=False)
    club = await named(world, "club", "Club", ann)
    gone = await named(world, "gone", "Quokka gone", ann)
    gone.archived_at = now()
    await world.add(gone)
    payload = await world.mutate(
        "createEvent",
        "event { slug }",
        by=ann,
        parent=ref(club),
        name="Quokka ball",
        startsAt="2030-01-01T10:00Z",
        endsAt="2030-01-01T12:00Z",
        isPublic=False,
    )
    assert payload["errors"] == []
    slug = payload["event"]["slug"]
    shop = await named(world, "shop", "Shop", ann, kind=CollectiveType.BUSINESS)
    offer = await world.mutate(
        "createOffer", "offer { id }", by=ann, business=ref(shop), item="Quokka", currentsSharePercent=5
    )
    await world.mutate("deactivateOffer", by=ann, id=offer["offer"]["id"])
    tagged = await world.mutate("updateCollective", by=ann, collective={"slug": slug}, tags=["secret"])
    assert tagged["errors"] == []
    for viewer in (None, bob):
        assert await found(world, "quokka", by=viewer) == []
        assert (await world.query(TAGS, by=viewer))["tags"] == []
    assert await found(world, "quokka", by=ann) == [slug]
    assert (await world.query(TAGS, by=ann))["tags"] == [{"name": "secret", "count": 1}]
    await world.member(club, bob, MemberRole.ACCOUNTANT)
    assert await found(world, "quokka", by=bob) == [slug]


async def test_highlights_show_where_the_words_are(world: World) -> None:
    ann = await world.person("ann")
    text = "Long " * 100 + "before the <b>Straße</b> and " + "after " * 100
    await named(world, "roads", "Straßen-Verein", ann, tags=["Road", "strasse"], description=text)
    (node,) = (await world.query(HIGHLIGHTS, q="STRASSE"))["search"]["nodes"]
    shown = {h["field"]: [(p["text"], p["isMatch"]) for p in h["parts"]] for h in node["highlights"]}
    assert shown["NAME"] == [("Straßen", True), ("-Verein", False)]
    assert shown["TAG"] == [("strasse", True)]
    assert set(shown) == {"NAME", "TAG", "DESCRIPTION"}
    assert ("Straße", True) in shown["DESCRIPTION"]
    excerpt = "".join(part for part, _ in shown["DESCRIPTION"])
    assert excerpt in text
    assert len(excerpt) <= EXCERPT_LENGTH


@pytest.mark.parametrize("query", ["", "  ", "\N{ZERO WIDTH SPACE}", "x" * 101, "a\x07"])
async def test_bad_queries_are_refused(shared: World, query: str) -> None:
    result = await shared.execute(SEARCH, q=query)
    (error,) = result["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["path"] == ["search"]


@pytest.mark.parametrize(
    "query", ["%", "!!!", "' | 'a", "a:* & !b", "\\", "\N{HAMMER}", "\N{RIGHT SINGLE QUOTATION MARK}…—"]
)
async def test_signs_are_no_operators(shared: World, query: str) -> None:
    assert await found(shared, query) is not None


async def test_tags_are_one_whatever_their_case_and_accents(world: World) -> None:
    ann = await world.person("ann")
    club = await named(world, "club", "Club", ann)
    for slug, tag in (("one", "Open Source"), ("two", "open source"), ("three", "Open Source")):
        await named(world, slug, slug, ann, tags=[tag, "Café"])
    payload = await world.mutate(
        "updateCollective",
        "collective { tags }",
        by=ann,
        collective=ref(club),
        tags=["Open Source", "open  SOURCE", "Cafe", "C++", "C#"],
    )
    assert payload == {"collective": {"tags": ["Open Source", "Cafe", "C++", "C#"]}, "errors": []}
    for tag in ("open source", "OPEN SOURCE", "Open Source"):
        assert await listed(world, tag=tag) == ["club", "one", "three", "two"]
    assert await listed(world, tag="cafe\N{COMBINING ACUTE ACCENT}") == ["club", "one", "three", "two"]
    assert await listed(world, tag="open") == []
    assert (await world.query(TAGS, n=2))["tags"] == [
        {"name": "Café", "count": 4},
        {"name": "Open Source", "count": 4},
    ]
    assert (await world.execute(TAGS, n=0))["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


def test_the_database_refuses_equal_tags(shared_database: Database) -> None:
    with (
        psycopg.connect(shared_database.app_url) as connection,
        pytest.raises(psycopg.errors.CheckViolation, match="ck_collective_tags_differ"),
    ):
        connection.execute(
            "INSERT INTO collective (id, slug, type, name, currency, tags)"
            " VALUES (gen_random_uuid(), 'twice', 'COMMUNITY', 'x', 'USD', '{Zürich,zurich}')"
        )


def test_the_index_is_used(shared_database: Database) -> None:
    searches = (
        "collective WHERE collective_words(name, slug, description, tags) @@ search_query('zu', ' & ', '')",
        "collective WHERE fold_tags(tags) @> fold_tags('{a}') AND tags <> '{}'",
        "offer WHERE offer_words(item, description) @@ search_query('zu', ' & ', '')",
    )
    with psycopg.connect(shared_database.app_url) as connection:
        connection.execute("SET enable_seqscan = off")
        for search in searches:
            plan = connection.execute(f"EXPLAIN SELECT id FROM {search}").fetchall()
            assert any("Bitmap Index Scan" in line for (line,) in plan), plan


async def test_a_page_of_20_results_takes_as_many_statements_as_one_of_2(
    world: World, engine: AsyncEngine
) -> None:
    ann = await world.person("ann")
    for number in range(20):
        await named(world, f"club-{number}", "Many", ann, description="Words")
    query = """query($n: Int) { search(query: "many", first: $n) { nodes {
        highlights { field } item { id ... on Collective { slug } } } } }"""
    taken = []
    for first in (2, 20):
        with record_statements(engine) as statements:
            await world.query(query, n=first)
        taken.append(len(without_control(statements)))
    assert taken == [1, 1]
