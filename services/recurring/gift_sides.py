"""Recurring gifts together with their sides, read in one statement."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, RecurringGift
from services.core.party import Party

# Built once at import: creating an alias copies every column, which costs more than the query.
_PAYER, _PAYEE = aliased(Collective, name="payer"), aliased(Collective, name="payee")
_PAYER_HOST, _PAYEE_HOST = aliased(Collective, name="payer_host"), aliased(Collective, name="payee_host")
_OF_PAYER: Any = _PAYER.host_id == _PAYER_HOST.id
_OF_PAYEE: Any = _PAYEE.host_id == _PAYEE_HOST.id


def select_with_sides() -> Any:
    """Select gifts with payer, payee and the hosts of both; `to_parties` takes the last four."""
    statement: Any = (
        select(RecurringGift, _PAYER, _PAYEE, _PAYER_HOST, _PAYEE_HOST)
        .join(_PAYER, col(RecurringGift.from_id) == _PAYER.id)
        .join(_PAYEE, col(RecurringGift.to_id) == _PAYEE.id)
        .outerjoin(_PAYER_HOST, _OF_PAYER)
        .outerjoin(_PAYEE_HOST, _OF_PAYEE)
    )
    return statement


def to_parties(
    payer: Collective, payee: Collective, payer_host: Collective | None, payee_host: Collective | None
) -> tuple[Party, Party]:
    """Return payer and payee with the hosts that hold their money."""
    return Party(payer, payer_host), Party(payee, payee_host)
