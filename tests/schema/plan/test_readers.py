"""Who may read logs and reports: the conditions in SQL are the rules of the table of permissions."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models import Collective
from models.enums import CollectiveType
from services.access import actor as actors
from services.access import visibility
from services.access.permissions import Action, Subject, is_permitted
from tests.schema.plan.executor_equivalence import PopulatedWorld

READERS = ("stranger", "member", "admin", "payee", "payer_host_admin", "platform_admin", "program_of_admin")
CONDITIONS: dict[Action, Callable[..., Any]] = {
    Action.READ_AUDIT_LOG: visibility.audit_log_is_visible,
    Action.READ_HOURS: visibility.private_fields_are_visible,
    Action.READ_CLEARING: visibility.private_fields_are_visible,
}


@pytest.mark.parametrize("viewer", READERS)
@pytest.mark.parametrize("action", CONDITIONS)
def test_what_is_a_collectives_is_read_by_whom_the_rule_names(
    populated: PopulatedWorld, action: Action, viewer: str
) -> None:
    person = populated.viewers[viewer]
    assert person is not None

    async def compare() -> tuple[set[str], set[str]]:
        async with populated.world.sessions() as session:
            actor = await actors.load(session, token=person.token)
            rows: Any = select(Collective)
            by_id = {row.id: row for row in await session.scalars(rows)}
            permitted = set()
            for row in by_id.values():
                of_row = by_id[row.parent_id] if row.type == CollectiveType.EVENT else row
                if is_permitted(actor, action, Subject(collective=row, host=by_id.get(of_row.host_id))):
                    permitted.add(row.slug)
            visible = await session.scalars(rows.where(CONDITIONS[action](actor)))
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
