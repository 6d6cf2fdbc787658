"""The ledger's audit as a query."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from services.database import engine as database_engine
from services.ledger import audit
from tests.conftest import Database
from tests.donation_world import DonationScene, expect_order
from tests.factories import World


async def test_anonymous_viewers_read_the_audit(world: World, database: Database) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.transfer("1.00"))
    query = "{ ledgerAudit { isClean violations transactions postings at checks { name violations } } }"

    clean = (await world.query(query))["ledgerAudit"]
    engine = create_async_engine(database_engine.to_psycopg_url(database.owner_url))
    async with database_engine.session_factory(engine)() as session, session.begin():
        await session.execute(
            text("UPDATE ledger_account SET seq = seq + 1 WHERE owner_id = :id"),
            {"id": scene.babel.id},
        )
    await engine.dispose()
    damaged = (await world.query(query))["ledgerAudit"]

    assert (clean["isClean"], clean["violations"]) == (True, 0)
    assert (clean["transactions"], clean["postings"]) == (2, 4)
    assert [c["name"] for c in clean["checks"]] == list(audit.CHECKS)
    assert (damaged["isClean"], damaged["violations"]) == (False, 1)
    assert {c["name"]: c["violations"] for c in damaged["checks"] if c["violations"]} == {"sequenceGaps": 1}
