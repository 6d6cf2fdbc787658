"""The ledger's last audit as a query."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from services.core import database_urls
from services.database import engine as database_engine
from services.ledger import audit
from services.ledger.audit_checks import CHECKS
from tests.conftest import Database
from tests.donation_world import DonationScene, expect_order
from tests.factories import World

QUERY = """{ ledgerAudit {
  isClean violations transactions postings at ageSeconds isFull lastFullAt
  checks { name description violations }
} }"""


async def test_anonymous_viewers_read_the_last_audit(world: World, database: Database) -> None:
    scene = await DonationScene.create(world)
    expect_order(await scene.transfer("1.00"))

    assert (await world.query(QUERY))["ledgerAudit"] is None
    await audit.audit_ledger(world.sessions)
    clean = (await world.query(QUERY))["ledgerAudit"]
    engine = create_async_engine(database_urls.to_psycopg_url(database.owner_url))
    async with database_engine.session_factory(engine)() as session, session.begin():
        await session.execute(
            text("UPDATE ledger_account SET seq = seq + 1 WHERE owner_id = :id"),
            {"id": scene.babel.id},
        )
    await engine.dispose()
    unchanged = (await world.query(QUERY))["ledgerAudit"]
    await audit.audit_ledger(world.sessions)
    damaged = (await world.query(QUERY))["ledgerAudit"]

    assert (clean["isClean"], clean["violations"], clean["isFull"]) == (True, 0, True)
    assert (clean["transactions"], clean["postings"]) == (2, 4)
    assert clean["lastFullAt"] == clean["at"] == damaged["lastFullAt"]
    assert 0 <= clean["ageSeconds"] < 60
    assert [(c["name"], c["description"]) for c in clean["checks"]] == list(CHECKS.items())
    assert unchanged["at"] == clean["at"]
    assert (damaged["isClean"], damaged["violations"], damaged["isFull"]) == (False, 1, False)
    assert {c["name"]: c["violations"] for c in damaged["checks"] if c["violations"]} == {"sequenceGaps": 1}
