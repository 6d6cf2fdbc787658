"""Reads whose variables were bound before: the same answers, and nothing of another request in them."""

import gc
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from schema.documents import document_cache
from schema.documents.document_cache import LruCache
from schema.execution import bound_reads, unit_of_work
from schema.execution.operation import OperationRequest, OperationResult, encode_json
from tests.donation_world import DonationScene
from tests.factories import World

PAGE = """query Page($slug: String!, $first: Int, $asOf: DateTime) { collective(slug: $slug) {
    name balance(currency: "USD", asOf: $asOf) { asOf available { value } }
    members(first: $first) { totalCount nodes { role } } } }"""


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    bound_reads.clear()
    yield
    bound_reads.clear()


async def ask(world: World, token: str | None = None, /, **variables: Any) -> OperationResult:
    request = OperationRequest(query=PAGE, variables=variables, token=token, address="test")
    return await unit_of_work.execute(request, sessions=world.sessions, settings=world.settings)


def text_of(result: OperationResult) -> str:
    return encode_json(result.body).decode()


async def test_a_page_asked_for_again_is_answered_afresh(world: World) -> None:
    scene = await DonationScene.create(world)
    for _ in range(2):  # the document is kept from its second use on
        await ask(world, slug=scene.webpack.slug, first=5)
    result = await ask(world, slug=scene.webpack.slug, first=5)
    assert bound_reads.count() == 1
    assert result.is_sql_json
    assert '"value":"100.00"' in text_of(result)
    await scene.donate("5.00")
    again = await ask(world, slug=scene.webpack.slug, first=5)
    assert '"value":"100.00"' not in text_of(again)
    assert bound_reads.count() == 1


async def test_now_is_the_moment_of_each_request(world: World) -> None:
    scene = await DonationScene.create(world)
    moments = []
    for _ in range(4):
        text = text_of(await ask(world, slug=scene.webpack.slug))
        moments.append(datetime.fromisoformat(text.partition('"asOf":"')[2].partition('"')[0]))
    assert moments == sorted(set(moments))


async def test_other_variables_have_other_answers(world: World) -> None:
    scene = await DonationScene.create(world)
    names = [scene.webpack, scene.babel, scene.webpack, scene.babel]
    answers = [text_of(await ask(world, slug=row.slug, first=1)) for row in names]
    assert [f'"name":"{row.name}"' in answer for row, answer in zip(names, answers, strict=True)] == [
        True
    ] * 4


async def test_a_read_is_bound_without_its_viewer(world: World) -> None:
    scene = await DonationScene.create(world)
    for token in (None, scene.giver.token, None, scene.giver.token):
        result = await ask(world, token, slug=scene.webpack.slug, first=5)
        assert result.is_sql_json
        assert "errors" not in result.body
    assert bound_reads.count() == 1


async def test_bad_variables_are_not_kept_and_told_each_time(world: World) -> None:
    scene = await DonationScene.create(world)
    for _ in range(3):
        result = await ask(world, slug=scene.webpack.slug, first=1000)
        assert result.body["errors"]
        result = await ask(world, slug=5)
        assert result.body["errors"]
    assert bound_reads.count() == 0


async def test_large_variables_are_not_kept(world: World) -> None:
    for _ in range(3):
        await ask(world, slug="x" * bound_reads.MAX_KEY_CHARACTERS)
    assert bound_reads.count() == 0


async def test_reads_go_with_their_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They refer to its syntax tree, which would else be kept beyond the limit of the cache of documents."""
    monkeypatch.setattr(document_cache, "_accepted", LruCache(max_count=1, max_bytes=100_000))
    for slug in ("one", "two", "two", "three"):
        await ask(world, slug=slug)
    assert bound_reads.count() == 2
    document_cache.prepare("{ __typename }")
    gc.collect()  # a coroutine may still refer to the document
    assert bound_reads.count() == 0
