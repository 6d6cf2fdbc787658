"""Closed vocabularies, by domain. In the API, each member is described by its docstring."""

from models.enums.collectives import CollectiveType, CreditPolicy, MemberRole, NamedBy, RequestStatus
from models.enums.giving import (
    GiftDirection,
    GiftInterval,
    GiftNotice,
    GiftParty,
    GiftStatus,
    GoalKind,
    TierPricing,
    TierType,
)
from models.enums.identity import ChallengePurpose, EmailTokenPurpose, Locale, Proof, Scope, TokenKind, Topic
from models.enums.ledger import CurrencyKind, LedgerAccountKind, TransactionKind
from models.enums.operation import ActChange, ActKind, JobStatus, LiveKind
from models.enums.orders import (
    CapPeriod,
    FeesPayer,
    GiverStatus,
    OrderActionType,
    OrderStatus,
    OrderType,
    RedemptionCap,
)
from models.enums.payments import (
    DisputeStatus,
    PaymentMethodKind,
    PayoutMethodKind,
    ProviderAccountStatus,
    ProviderName,
    ProviderPaymentStatus,
    ProviderRefundStatus,
)

__all__ = [
    "ActChange",
    "ActKind",
    "CapPeriod",
    "ChallengePurpose",
    "CollectiveType",
    "CreditPolicy",
    "CurrencyKind",
    "DisputeStatus",
    "EmailTokenPurpose",
    "FeesPayer",
    "GiftDirection",
    "GiftInterval",
    "GiftNotice",
    "GiftParty",
    "GiftStatus",
    "GiverStatus",
    "GoalKind",
    "JobStatus",
    "LedgerAccountKind",
    "LiveKind",
    "Locale",
    "MemberRole",
    "NamedBy",
    "OrderActionType",
    "OrderStatus",
    "OrderType",
    "PaymentMethodKind",
    "PayoutMethodKind",
    "Proof",
    "ProviderAccountStatus",
    "ProviderName",
    "ProviderPaymentStatus",
    "ProviderRefundStatus",
    "RedemptionCap",
    "RequestStatus",
    "Scope",
    "TierPricing",
    "TierType",
    "TokenKind",
    "Topic",
    "TransactionKind",
]
