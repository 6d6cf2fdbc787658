"""Events that mutations emit for subscribers."""

from services.live import event_log
from tests.donation_world import DonationScene
from tests.factories import World
from tests.live_events import current_position, events_after, wait_until_visible


async def test_a_failed_mutation_and_a_dry_run_emit_no_event(world: World) -> None:
    scene = await DonationScene.create(world)
    start = await current_position(world.sessions)
    assert (await scene.donate("1.00", dryRun=True))["errors"] == []
    assert (await scene.donate("999.00"))["errors"] != []
    assert (await events_after(world.sessions, start))[0] == []
    assert (await scene.donate("1.00"))["errors"] == []
    await wait_until_visible(world.sessions)
    events, _ = await events_after(world.sessions, start)
    assert sorted({event.kind for event in events}) == ["ORDER", "TRANSACTION"]
    posted = next(event for event in events if event.kind == "TRANSACTION")
    assert posted.collective_ids[:2] == (scene.webpack.id, scene.babel.id)
    assert {topic.of_id for topic in posted.topics if topic.name == event_log.TRANSACTIONS} == {
        scene.webpack.id,
        scene.babel.id,
    }
