"""The models' vocabularies as GraphQL enums; descriptions are the docstrings under the members."""

import ast
import inspect
from enum import Enum
from typing import TypeVar

import strawberry
from strawberry.types.enum import EnumValue

from models import enums as model_enums
from services import errors

E = TypeVar("E", bound=type[Enum])


def published(vocabulary: E, name: str | None = None) -> E:
    """Make a GraphQL enum of a vocabulary, with the description that stands under each member."""
    texts = _docstrings(vocabulary)
    described = strawberry.enum(
        vocabulary, name=name or vocabulary.__name__, description=inspect.getdoc(vocabulary)
    )
    definition = described.__strawberry_definition__  # type: ignore[attr-defined]  # set by Strawberry
    definition.values = [
        EnumValue(name=m.name, value=m.value, description=texts[m.name]) for m in vocabulary
    ]
    return described


def _docstrings(vocabulary: type[Enum]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(vocabulary)).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class
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


CollectiveType = published(model_enums.CollectiveType)
MemberRole = published(model_enums.MemberRole)
OrderType = published(model_enums.OrderType)
OrderStatus = published(model_enums.OrderStatus)
OrderActionType = published(model_enums.OrderActionType)
TransactionKind = published(model_enums.TransactionKind)
LedgerAccountKind = published(model_enums.LedgerAccountKind)
CurrencyKind = published(model_enums.CurrencyKind)
PaymentMethodKind = published(model_enums.PaymentMethodKind, "PaymentMethodType")
PayoutMethodKind = published(model_enums.PayoutMethodKind, "PayoutMethodType")
FeesPayer = published(model_enums.FeesPayer)
RequestStatus = published(model_enums.RequestStatus)
Scope = published(model_enums.Scope)
ErrorCode = published(errors.ErrorCode)
