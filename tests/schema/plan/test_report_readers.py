"""Who may read reports: the conditions in SQL are the rules of the table of permissions."""

from typing import Any

import pytest
from sqlalchemy import select

from models import Collective
from services.access import actor as actors
from services.access import visibility
from services.access.permissions import Action, Subject, is_permitted
from tests.schema.plan.executor_equivalence import PopulatedWorld

READERS = ("stranger", "member", "admin", "payer_host_admin", "platform_admin", "program_of_admin")


@pytest.mark.parametrize("viewer", READERS)
@pytest.mark.parametrize("action", [Action.READ_HOURS, Action.READ_CLEARING])
def test_reports_of_a_collective_are_read_by_whom_the_rule_names(
    populated: PopulatedWorld, action: Action, viewer: str
) -> None:
    person = populated.viewers[viewer]
    assert person is not None

    async def compare() -> tuple[set[str], set[str]]:
        async with populated.world.sessions() as session:
            actor = await actors.load(session, token=person.token)
            rows: Any = select(Collective)
            permitted = {
                row.slug
                for row in await session.scalars(rows)
                if is_permitted(actor, action, Subject(collective=row))
            }
            is_visible = visibility.private_fields_are_visible(actor)
            visible = await session.scalars(rows.where(is_visible))
            return permitted, {row.slug for row in visible}

    permitted, visible = populated.runner.run(compare())
    assert visible == permitted
    assert len(visible) > 0


@pytest.mark.parametrize("viewer", READERS)
def test_the_report_on_liabilities_is_read_by_whom_the_rule_names(
    populated: PopulatedWorld, viewer: str
) -> None:
    person = populated.viewers[viewer]
    assert person is not None

    async def compare() -> tuple[bool, bool | None]:
        async with populated.world.sessions() as session:
            actor = await actors.load(session, token=person.token)
            is_visible = await session.scalar(select(visibility.liability_is_visible(actor)))
            return is_permitted(actor, Action.READ_LIABILITY, Subject()), is_visible

    permitted, visible = populated.runner.run(compare())
    assert visible is permitted is (viewer == "platform_admin")
