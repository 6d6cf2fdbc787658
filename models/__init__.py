"""All tables: importing this package completes the metadata."""

from models.access_paths import Device, EmailChange, Identity, ProviderSignIn
from models.act import Act, ActSubject
from models.approval import Approval, ApprovalPolicy
from models.attendance import Attendance
from models.audit import AuditedAccount, AuditRun
from models.base import metadata, new_id, now
from models.collective import Collective, HostApplication, Invitation, Member, SlugRedirect
from models.currency import Currency, FxRate, PlatformPolicy
from models.demo_load import DemoLoad
from models.factors import Challenge, FactorRequirement, Passkey, RecoveryCode, TotpFactor
from models.identity import (
    Credential,
    EmailToken,
    MergeConsent,
    MergedEmail,
    RateBucket,
    Suspension,
    Throttle,
    Token,
    ViewerVersion,
)
from models.issuance import IssuanceCap
from models.ledger import Hold, LedgerAccount, Posting, RaisedTotal, RefundTotal, Transaction
from models.live_event import LiveEvent
from models.offer import Offer, Receipt, Redemption
from models.operation import BackupRun
from models.order import Idempotency, Order, OrderAction, OrderItem, PaymentMethod, PayoutMethod
from models.outbox import MailStop, Outbox
from models.personal import DataExport
from models.preferences import MutedTopic
from models.provider import Instrument, ProviderAccount, ProviderEvent, ProviderPayment, ProviderRefund
from models.recurring_gift import RecurringGift
from models.settlement import Settlement
from models.tier import Goal, Tier

__all__ = [
    "Act",
    "ActSubject",
    "Approval",
    "ApprovalPolicy",
    "Attendance",
    "AuditRun",
    "AuditedAccount",
    "BackupRun",
    "Challenge",
    "Collective",
    "Credential",
    "Currency",
    "DataExport",
    "DemoLoad",
    "Device",
    "EmailChange",
    "EmailToken",
    "FactorRequirement",
    "FxRate",
    "Goal",
    "Hold",
    "HostApplication",
    "Idempotency",
    "Identity",
    "Instrument",
    "Invitation",
    "IssuanceCap",
    "LedgerAccount",
    "LiveEvent",
    "MailStop",
    "Member",
    "MergeConsent",
    "MergedEmail",
    "MutedTopic",
    "Offer",
    "Order",
    "OrderAction",
    "OrderItem",
    "Outbox",
    "Passkey",
    "PaymentMethod",
    "PayoutMethod",
    "PlatformPolicy",
    "Posting",
    "ProviderAccount",
    "ProviderEvent",
    "ProviderPayment",
    "ProviderRefund",
    "ProviderSignIn",
    "RaisedTotal",
    "RateBucket",
    "Receipt",
    "RecoveryCode",
    "RecurringGift",
    "Redemption",
    "RefundTotal",
    "Settlement",
    "SlugRedirect",
    "Suspension",
    "Throttle",
    "Tier",
    "Token",
    "TotpFactor",
    "Transaction",
    "ViewerVersion",
    "metadata",
    "new_id",
    "now",
]
