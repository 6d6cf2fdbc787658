"""Who may read a log: the condition in SQL is the rule of the table of permissions."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective
from models.enums import CollectiveType
from services.access import actor as actors
from services.access import visibility
from services.access.permissions import Action, Subject, is_permitted
from tests.schema.plan.executor_equivalence import PopulatedWorld

READERS = ("member", "admin", "payee", "payer_host_admin", "platform_admin", "program_of_admin")


@pytest.mark.parametrize("viewer", READERS)
def test_the_log_of_a_collective_is_read_by_whom_the_rule_names(
    populated: PopulatedWorld, viewer: str
) -> None:
    person = populated.viewers[viewer]
    assert person is not None

    async def compare() -> tuple[set[str], set[str]]:
        async with populated.world.sessions() as session:
            actor = await actors.load(session, token=person.token)
            parent = aliased(Collective)
            rows = await session.execute(
                select(Collective, parent).outerjoin(parent, col(parent.id) == Collective.parent_id)
            )
            permitted = set()
            for row, of_row in rows.all():
                host_id = (of_row if row.type == CollectiveType.EVENT else row).host_id
                host = await session.get(Collective, host_id) if host_id else None
                if is_permitted(actor, Action.READ_AUDIT_LOG, Subject(collective=row, host=host)):
                    permitted.add(row.slug)
            is_visible = visibility.audit_log_is_visible(actor)
            visible = await session.scalars(select(col(Collective.slug)).where(is_visible))
            return permitted, set(visible)

    permitted, visible = populated.runner.run(compare())
    assert visible == permitted
    assert len(visible) > 0
