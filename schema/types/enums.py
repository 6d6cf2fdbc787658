"""The models' vocabularies as GraphQL enums; descriptions are the docstrings under the members."""

import ast
import inspect
from enum import Enum

import strawberry
from strawberry.types.enum import EnumValue

from models.enums import (
    CapPeriod,
    CollectiveType,
    CurrencyKind,
    FeesPayer,
    LedgerAccountKind,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    RedemptionCap,
    RequestStatus,
    Scope,
    Topic,
    TransactionKind,
)
from services.core.errors import ErrorCode
from services.volunteering.community_stats import LeaderboardBy, Period

__all__ = [
    "CapPeriod",
    "CollectiveType",
    "CurrencyKind",
    "ErrorCode",
    "FeesPayer",
    "LeaderboardBy",
    "LedgerAccountKind",
    "MemberRole",
    "OrderActionType",
    "OrderStatus",
    "OrderType",
    "PaymentMethodKind",
    "PayoutMethodKind",
    "Period",
    "RedemptionCap",
    "RequestStatus",
    "Scope",
    "Topic",
    "TransactionKind",
]


def _docstrings(vocabulary: type[Enum]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(vocabulary)).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for member, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(member, ast.Assign)
            and isinstance(member.targets[0], ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[member.targets[0].id] = str(text.value.value)
    return found


def publish(vocabulary: type[Enum], name: str | None = None) -> None:
    """Make a GraphQL enum of a vocabulary, in place; the description is what stands under each member."""
    texts = _docstrings(vocabulary)
    strawberry.enum(vocabulary, name=name or vocabulary.__name__, description=inspect.getdoc(vocabulary))
    definition = vocabulary.__strawberry_definition__  # type: ignore[attr-defined]  # set by Strawberry
    definition.values = [EnumValue(name=m.name, value=m.value, description=texts[m.name]) for m in vocabulary]


for _vocabulary in (
    CollectiveType,
    MemberRole,
    OrderType,
    OrderStatus,
    OrderActionType,
    TransactionKind,
    LedgerAccountKind,
    CurrencyKind,
    FeesPayer,
    RedemptionCap,
    RequestStatus,
    Scope,
    ErrorCode,
    CapPeriod,
    LeaderboardBy,
    Period,
    Topic,
):
    publish(_vocabulary)
publish(PaymentMethodKind, "PaymentMethodType")
publish(PayoutMethodKind, "PayoutMethodType")
