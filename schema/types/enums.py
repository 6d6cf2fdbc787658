"""Python enums published as GraphQL enums, described by the docstrings under their members."""

import ast
import inspect
from enum import Enum

import strawberry
from strawberry.types.enum import EnumValue

from models.enums import (
    CapPeriod,
    CollectiveType,
    CreditPolicy,
    CurrencyKind,
    FeesPayer,
    GiftDirection,
    GiftInterval,
    GiftParty,
    GiftStatus,
    GiverStatus,
    GoalKind,
    LedgerAccountKind,
    Locale,
    MemberRole,
    OrderActionType,
    OrderStatus,
    OrderType,
    PaymentMethodKind,
    PayoutMethodKind,
    Proof,
    ProviderAccountStatus,
    ProviderName,
    RedemptionCap,
    RequestStatus,
    Scope,
    TierPricing,
    TierType,
    Topic,
    TransactionKind,
)
from services.core.errors import ErrorCode
from services.search.search import SearchField, SearchType
from services.volunteering.community_stats import LeaderboardBy, Period

__all__ = [
    "CapPeriod",
    "CollectiveType",
    "CreditPolicy",
    "CurrencyKind",
    "ErrorCode",
    "FeesPayer",
    "GiftDirection",
    "GiftInterval",
    "GiftParty",
    "GiftStatus",
    "GiverStatus",
    "GoalKind",
    "LeaderboardBy",
    "LedgerAccountKind",
    "Locale",
    "MemberRole",
    "OrderActionType",
    "OrderStatus",
    "OrderType",
    "PaymentMethodKind",
    "PayoutMethodKind",
    "Period",
    "Proof",
    "ProviderAccountStatus",
    "ProviderName",
    "RedemptionCap",
    "RequestStatus",
    "Scope",
    "SearchField",
    "SearchType",
    "TierPricing",
    "TierType",
    "Topic",
    "TransactionKind",
]


def _member_docstrings(vocabulary: type[Enum]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(vocabulary)).body[0]
    assert isinstance(body, ast.ClassDef)
    docstrings: dict[str, str] = {}
    for member, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(member, ast.Assign)
            and isinstance(member.targets[0], ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            docstrings[member.targets[0].id] = str(text.value.value)
    return docstrings


def publish_enum(vocabulary: type[Enum], name: str | None = None) -> None:
    """Turn a Python enum into a GraphQL enum, in place."""
    texts = _member_docstrings(vocabulary)
    strawberry.enum(vocabulary, name=name or vocabulary.__name__, description=inspect.getdoc(vocabulary))
    definition = vocabulary.__strawberry_definition__  # type: ignore[attr-defined]  # set by Strawberry
    definition.values = [EnumValue(name=m.name, value=m.value, description=texts[m.name]) for m in vocabulary]


for _enum in (
    CollectiveType,
    CreditPolicy,
    MemberRole,
    OrderType,
    OrderStatus,
    OrderActionType,
    TransactionKind,
    LedgerAccountKind,
    CurrencyKind,
    FeesPayer,
    GiftDirection,
    GiftInterval,
    GiftParty,
    GiftStatus,
    GiverStatus,
    GoalKind,
    TierPricing,
    TierType,
    RedemptionCap,
    RequestStatus,
    Proof,
    ProviderAccountStatus,
    Scope,
    SearchField,
    SearchType,
    ErrorCode,
    CapPeriod,
    LeaderboardBy,
    Period,
    Topic,
    Locale,
):
    publish_enum(_enum)
publish_enum(PaymentMethodKind, "PaymentMethodType")
publish_enum(PayoutMethodKind, "PayoutMethodType")
publish_enum(ProviderName, "PaymentProvider")
