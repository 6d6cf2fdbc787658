"""Rows without a session: the defaults of their model, and nothing that is no column."""

from typing import Any

import pytest

from models import OrderAction, new_id, now
from models.enums import OrderActionType, OrderStatus
from services.round_trips.records import column_names, model_of, new_record, read_values


def test_a_record_has_what_an_instance_would_have() -> None:
    values: dict[str, Any] = {
        "id": new_id(),
        "order_id": new_id(),
        "type": OrderActionType.CREATE,
        "at": now(),
        "amount": 5,
    }
    values |= {"actor_id": None, "to_status": OrderStatus.PENDING}
    record = new_record(OrderAction, **values)
    assert read_values(record) == read_values(OrderAction(**values))
    assert (model_of(record), model_of(OrderAction(**values))) == (OrderAction, OrderAction)
    assert tuple(read_values(record)) == column_names(OrderAction)


def test_each_record_makes_its_own_defaults_and_can_be_changed() -> None:
    values: dict[str, Any] = {
        "order_id": new_id(),
        "type": OrderActionType.CREATE,
        "to_status": OrderStatus.PENDING,
    }
    first, second = (new_record(OrderAction, amount=5, **values) for _ in range(2))
    assert first.id != second.id
    first.amount = 6
    assert (first.amount, second.amount, first.reason) == (6, 5, None)


@pytest.mark.parametrize("values", [{"type": OrderActionType.CREATE}, {"typ": OrderActionType.CREATE}])
def test_a_column_that_lacks_and_one_that_is_none_are_refused(values: dict[str, OrderActionType]) -> None:
    with pytest.raises(TypeError, match="OrderAction has other columns"):
        new_record(OrderAction, order_id=new_id(), **values)
