"""Every mutation with valid input, its permitted viewers, and the viewers who can see its object.

Written from the design, not computed from the rules.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from models import now
from tests.factories import money

VIEWERS = [
    "anonymous",
    "stranger",
    "follower",
    "backer",
    "member",
    "accountant",
    "admin",
    "co_admin",
    "payee_admin",
    "payee",
    "payer_host_admin",
    "payee_host_admin",
    "creator",
    "invitee",
    "platform_admin",
    "platform_accountant",
]
SIGNED_IN = " ".join(VIEWERS[1:])
KEYED_MUTATIONS = {
    "redeemOffer",
    "logHours",
    "cashOut",
    "donate",
    "updateSubscription",
    "pauseSubscription",
    "resumeSubscription",
    "cancelSubscription",
    "addFunds",
    "submitExpense",
    "updateExpense",
    "confirmContribution",
    "denyContribution",
    "transferFunds",
    "approveOrder",
    "approveOrders",
    "rejectOrder",
    "payOrder",
    "cancelOrder",
    "refundOrder",
    "decideHostApplication",
    "moveToHost",
    "settleHosts",
    "mergeUsers",
    "checkIn",
    "checkOut",
}
SCOPES = {
    "updateExpense confirmContribution denyContribution": "ORDERS",
    "donate addFunds submitExpense transferFunds cancelOrder redeemOffer logHours cashOut": "ORDERS",
    "settleHosts": "ORDERS",
    "updateSubscription pauseSubscription resumeSubscription cancelSubscription": "ORDERS",
    "approveOrder approveOrders rejectOrder payOrder refundOrder setFxRate setPlatformPolicy": "APPROVE",
    "checkIn checkOut": "APPROVE",
    "decideIssuer setIssuanceCap setClearingLimit mergeUsers decideHost suspendHost": "APPROVE",
    "setApprovalPolicy": "APPROVE",
    "suspendUser reinstateUser retryJob": "APPROVE",
    "signOut": "READ",
}
ONE_TIME_MUTATIONS = {
    "deactivateOffer",
    "archiveTier",
    "connectHost",
    "updatePaymentMethod",
    "archivePaymentMethod",
    "updatePayoutMethod",
    "archivePayoutMethod",
    "pauseSubscription",
    "resumeSubscription",
    "cancelSubscription",
    "archiveCollective",
    "applyToHost",
    "unarchiveCollective",
    "withdrawHostApplication",
    "leaveHost",
    "applyAsHost",
    "decideHost",
    "suspendHost",
    "suspendUser",
    "reinstateUser",
    "retryJob",
    "withdrawInvitation",
    "inviteMember",
    "respondToInvitation",
    "removeMember",
    "cancelEvent",
    "cancelRegistration",
}
"""Mutations that work only once, so that each viewer gets its own database."""
NO_TOKEN = {
    "exportMyData",
    "eraseMe",
    "changePassword",
    "changeEmail",
    "unlinkIdentity",
    "endSession",
    "endOtherSessions",
    "mergeUsers",
    "confirmSession",
    "beginPasskeyConfirmation",
    "enrollTotp",
    "activateTotp",
    "disableTotp",
    "renewRecoveryCodes",
    "beginPasskeyRegistration",
    "registerPasskey",
    "renamePasskey",
    "removePasskey",
    "requireSecondFactor",
}
"""Mutations for people alone, whatever the scopes of a token."""
ADMINS = "admin co_admin"
PLATFORM = "platform_admin platform_accountant"
# Who sees a pending donation: its maker, admins and accountants of both sides and their hosts, the platform.
SEE_PURCHASE = f"payee accountant {ADMINS} {PLATFORM}"
"""Viewers of the payee's purchases at the shop."""
SEE_GIFT = f"accountant {ADMINS} payee_admin payer_host_admin payee_host_admin {PLATFORM}"
SEE_DONATION = f"creator accountant {ADMINS} payee_admin payer_host_admin payee_host_admin {PLATFORM}"


@dataclass(frozen=True)
class Case:
    """A mutation with valid input; viewers who see its object but are not allowed get FORBIDDEN."""

    input: dict[str, Any] | None
    allowed: str
    seen_by: str = SIGNED_IN
    special: dict[str, str] = field(default_factory=dict)
    by_token: str = "OK"
    """What a token with the mutation's scope gets for an allowed viewer; see `NO_TOKEN`."""

    def expected(self, viewer: str) -> str:
        """Return the expected error code, or OK."""
        if viewer == "anonymous" or viewer in self.special:
            return self.special.get(viewer, "UNAUTHENTICATED")
        if viewer in self.allowed.split():
            return "OK"
        return "FORBIDDEN" if viewer in self.seen_by.split() else "NOT_FOUND"


GIVER, GETTER, FREE = {"slug": "giver"}, {"slug": "getter"}, {"slug": "free"}
EVENT, WORKDAY = {"slug": "private-event"}, {"slug": "workday"}
SEE_EVENT = f"{ADMINS} accountant {PLATFORM}"
SHOP = {"slug": "shop"}
TEN = money("10.00")
SOON = (now() + timedelta(hours=12)).isoformat()

SEE_SETTLEMENT = f"payer_host_admin payee_host_admin {PLATFORM}"
"""Viewers of a settlement between the two hosts."""
SEE_HOURS = f"payee payer_host_admin {PLATFORM}"
"""Viewers of the hours that the payee logged at the payer's host."""


def hours_input(days: int) -> dict[str, Any]:
    """Return a logHours input for an hour at the payer's host some days ago."""
    begun = now().replace(hour=8, minute=0) - timedelta(days=days)
    ended = begun + timedelta(hours=1)
    return {"nonprofit": {"slug": "payer-host"}, "startsAt": begun.isoformat(), "endsAt": ended.isoformat()}


def _for_everybody(code: str) -> dict[str, str]:
    """Return the code for all who are signed in."""
    return dict.fromkeys(set(VIEWERS) - {"anonymous"}, code)


# fmt: off
CASES: dict[str, Case] = {
    "createAccessToken": Case({"name": "x", "scopes": ["COLLECTIVES"], "expiresAt": SOON}, SIGNED_IN),
    "revokeAccessToken": Case({"id": "<token>"}, "member", "member", by_token="NOT_FOUND"),
    "signOut": Case(None, SIGNED_IN),
    "createCollective": Case({"type": "NONPROFIT", "name": "New", "slug": "<slug>", "currency": "EUR",
        "isHost": True}, SIGNED_IN),
    "updateCollective": Case({"collective": GIVER, "description": "x"}, f"{ADMINS} platform_admin"),
    "updateCollective of a host": Case({"collective": {"slug": "payer-host"}, "description": "x"},
        "payer_host_admin platform_admin"),
    "updateCollective of a private event": Case({"collective": EVENT, "name": "x"},
        f"{ADMINS} platform_admin", f"{ADMINS} accountant {PLATFORM}"),
    "updateCollective of a user": Case({"collective": {"slug": "payee"}, "location": "x"},
        "payee platform_admin"),
    "updateCollective's host fee": Case({"collective": GIVER, "hostFeeBps": 100}, "payer_host_admin"),
    "archiveCollective": Case({"collective": FREE}, f"{ADMINS} platform_admin"),
    "unarchiveCollective": Case({"collective": {"slug": "closed"}}, f"{ADMINS} platform_admin"),
    "createEvent": Case({"parent": GIVER, "name": "x", "startsAt": "2030-01-01T10:00Z",
        "endsAt": "2030-01-01T11:00Z"}, ADMINS),
    "updateEvent": Case({"event": EVENT, "location": "x"}, ADMINS, SEE_EVENT),
    "updateEvent of a nonprofit": Case({"event": WORKDAY, "location": "x"}, "payer_host_admin"),
    "cancelEvent": Case({"event": EVENT, "reason": "x"}, ADMINS, SEE_EVENT),
    "registerForEvent": Case({"event": WORKDAY}, SIGNED_IN),
    "registerForEvent of a private event": Case({"event": EVENT}, SEE_EVENT, SEE_EVENT),
    "cancelRegistration": Case({"event": WORKDAY}, "backer",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous", "backer"}, "INVALID_STATE")),
    "inviteToEvent": Case({"event": EVENT, "users": [{"slug": "stranger"}]}, ADMINS, SEE_EVENT),
    "sendEventMessage": Case({"event": WORKDAY, "message": "x"}, "payer_host_admin backer member"),
    "sendEventMessage of a private event": Case({"event": EVENT, "message": "x"}, ADMINS, SEE_EVENT),
    "checkIn": Case({"event": WORKDAY, "user": {"slug": "stranger"}}, "payer_host_admin"),
    "checkIn of an address": Case({"event": WORKDAY, "email": "new@example.org"}, "payer_host_admin"),
    "checkIn of the admin": Case({"event": WORKDAY, "user": {"slug": "payer-host-admin"}}, "",
        special={"payer_host_admin": "SELF_APPROVAL"}),
    "checkIn of a private event": Case({"event": EVENT, "user": {"slug": "stranger"}}, "", SEE_EVENT,
        special=dict.fromkeys(ADMINS.split(), "INVALID_STATE")),
    "checkOut": Case({"event": WORKDAY, "user": {"slug": "member"}}, "payer_host_admin"),
    "checkOut of a private event": Case({"event": EVENT, "user": {"slug": "stranger"}}, "", SEE_EVENT,
        special=dict.fromkeys(ADMINS.split(), "INVALID_STATE")),
    "applyToHost": Case({"collective": FREE, "host": {"slug": "payee-host"}}, ADMINS),
    "decideHostApplication": Case({"id": "<application>", "approve": True}, "payer_host_admin",
        f"{ADMINS} payer_host_admin {PLATFORM}"),
    "withdrawHostApplication": Case({"id": "<application>"}, ADMINS, f"{ADMINS} payer_host_admin {PLATFORM}"),
    "leaveHost": Case({"collective": {"slug": "leaver"}, "reason": "x"}, f"{ADMINS} payer_host_admin"),
    "moveToHost": Case({"collective": {"slug": "leaver"}, "host": {"slug": "payee-host"}, "message": "x"},
        ADMINS),
    "applyAsHost": Case({"collective": SHOP, "message": "x"}, ADMINS),
    "decideHost": Case({"id": "<host_application>", "approve": True}, "platform_admin",
        f"{ADMINS} {PLATFORM}"),
    "suspendHost": Case({"host": {"slug": "payee-host"}, "reason": "x"}, "platform_admin"),
    "createPaymentMethod": Case({"host": {"slug": "payer-host"}, "name": "Card", "type": "MANUAL"},
        "payer_host_admin"),
    "createPayoutMethod": Case({"collective": GIVER, "name": "x", "type": "OTHER", "details": {"a": "b"}},
        ADMINS),
    "createPayoutMethod of a user": Case({"collective": {"slug": "payee"}, "name": "x", "type": "OTHER",
        "details": {}}, "payee"),
    "connectHost": Case({"host": {"slug": "payer-host"}, "provider": "FAKE"}, "payer_host_admin"),
    "updatePaymentMethod": Case({"id": "<payment_method>", "name": "Card"}, "payer_host_admin"),
    "archivePaymentMethod": Case({"id": "<payment_method>"}, "payer_host_admin"),
    "updatePayoutMethod": Case({"id": "<payout_method>", "name": "x"}, ADMINS,
        f"accountant {ADMINS} {PLATFORM}"),
    "archivePayoutMethod": Case({"id": "<payout_method>"}, ADMINS, f"accountant {ADMINS} {PLATFORM}"),
    "inviteMember as an ADMIN": Case({"collective": GIVER, "role": "ADMIN", "user": {"slug": "stranger"}},
        ADMINS, by_token="FORBIDDEN"),
    "inviteMember": Case({"collective": GIVER, "role": "MEMBER", "user": {"slug": "stranger"}}, ADMINS),
    "inviteMember to a private event": Case({"collective": EVENT, "role": "MEMBER",
        "user": {"slug": "stranger"}}, ADMINS, f"{ADMINS} accountant {PLATFORM}"),
    "respondToInvitation": Case({"id": "<invitation>", "accept": True}, "invitee",
        f"{ADMINS} invitee {PLATFORM}"),
    "withdrawInvitation": Case({"id": "<invitation>"}, ADMINS, f"{ADMINS} invitee {PLATFORM}"),
    "removeMember": Case({"id": "<member>"}, f"{ADMINS} member"),
    "removeMember of a follower": Case({"id": "<follower>"}, f"{ADMINS} follower",
        f"{ADMINS} follower accountant {PLATFORM}"),
    "followCollective": Case({"collective": GIVER}, SIGNED_IN),
    "unfollowCollective": Case({"collective": GIVER}, SIGNED_IN),
    "donate": Case({"from": GIVER, "to": GETTER, "amount": TEN}, ADMINS),
    "donate by bank transfer": Case({"from": GIVER, "to": GETTER, "amount": TEN, "paymentMethod": "MANUAL"},
        ADMINS),
    "donate from a user": Case({"from": {"slug": "payee"}, "to": GETTER, "amount": TEN,
        "paymentMethod": "MANUAL"}, "payee"),
    "addFunds": Case({"to": GETTER, "amount": TEN}, "payee_host_admin"),
    "addFunds to a user": Case({"to": {"slug": "payee"}, "amount": TEN}, "platform_admin"),
    "submitExpense": Case({"from": GIVER, "to": GETTER, "amount": TEN}, f"{ADMINS} payee_admin"),
    "submitExpense to a user": Case({"from": GIVER, "to": {"slug": "payee"}, "amount": TEN},
        f"{ADMINS} payee"),
    "updateExpense": Case({"id": "<expense>", "amount": TEN}, "payee_admin"),
    "confirmContribution": Case({"id": "<claimed>"}, "payee_admin"),
    "denyContribution": Case({"id": "<claimed>"}, "payee_admin"),
    "transferFunds": Case({"from": GIVER, "to": GETTER, "amount": TEN}, ADMINS),
    "approveOrder of a pending donation": Case({"id": "<donation>"}, "payee_host_admin", SEE_DONATION),
    "approveOrder of a pending expense": Case({"id": "<expense>"}, ADMINS),
    "approveOrder of an expense that the admin made": Case({"id": "<own_expense>"}, "co_admin",
        special={"admin": "SELF_APPROVAL"}),
    "approveOrder of an expense that pays the admin": Case({"id": "<to_admin>"}, "payer_host_admin",
        special={"admin": "SELF_APPROVAL", "co_admin": "SELF_APPROVAL"}),
    "approveOrders of a pending donation": Case({"ids": ["<donation>"]}, "payee_host_admin", SEE_DONATION),
    "approveOrders of a pending expense": Case({"ids": ["<expense>"]}, ADMINS),
    "rejectOrder of a pending donation": Case({"id": "<donation>", "reason": "x"}, "payee_host_admin",
        SEE_DONATION),
    "rejectOrder of a pending expense": Case({"id": "<expense>", "reason": "x"},
        f"{ADMINS} payer_host_admin"),
    "rejectOrder of an approved expense": Case({"id": "<approved>", "reason": "x"},
        f"{ADMINS} payer_host_admin"),
    "payOrder of an approved expense": Case({"id": "<approved>"}, "payer_host_admin"),
    "cancelOrder of a pending donation": Case({"id": "<donation>"}, f"{ADMINS} creator", SEE_DONATION),
    "cancelOrder of a pending expense": Case({"id": "<expense>"}, "payee_admin creator"),
    "cancelOrder of an approved expense": Case({"id": "<approved>"}, "payee_admin creator"),
    "refundOrder of a paid donation": Case({"id": "<paid_donation>"}, "payee_host_admin"),
    "refundOrder of added funds": Case({"id": "<funds>"}, "payer_host_admin"),
    "refundOrder of a paid expense": Case({"id": "<paid_expense>"}, "payer_host_admin"),
    "refundOrder of a transfer": Case({"id": "<transfer>"}, "payee_admin payee_host_admin"),
    "refundOrder of paid hours": Case({"id": "<paid_hours>"}, "payer_host_admin", SEE_HOURS),
    "refundOrder of a paid redemption": Case({"id": "<paid_redemption>"}, "platform_admin", SEE_PURCHASE),
    "refundOrder of a paid cash-out": Case({"id": "<paid_cash_out>"}, "platform_admin",
        f"payee {PLATFORM}"),
    "donate every month": Case({"from": GIVER, "to": GETTER, "amount": TEN, "interval": "MONTH"}, ADMINS),
    "updateSubscription": Case({"id": "<gift>", "amount": money("11.00")}, ADMINS, SEE_GIFT),
    "pauseSubscription": Case({"id": "<gift>"}, f"{ADMINS} payee_admin payee_host_admin", SEE_GIFT),
    "resumeSubscription of a gift that its payer paused": Case({"id": "<paused_gift>"}, ADMINS, SEE_GIFT,
        special={"payee_admin": "INVALID_STATE", "payee_host_admin": "INVALID_STATE"}),
    "resumeSubscription of a gift that its payee paused": Case({"id": "<refused_gift>"},
        "payee_admin payee_host_admin", SEE_GIFT,
        special={"admin": "INVALID_STATE", "co_admin": "INVALID_STATE"}),
    "cancelSubscription": Case({"id": "<gift>"}, f"{ADMINS} payee_admin payee_host_admin", SEE_GIFT),
    "createTier": Case({"collective": GIVER, "type": "TICKET", "name": "x", "amount": TEN}, ADMINS),
    "updateTier": Case({"id": "<tier>", "name": "<slug>"}, ADMINS),
    "archiveTier": Case({"id": "<tier>"}, f"{ADMINS} platform_admin"),
    "setGoal": Case({"collective": GIVER, "kind": "RAISED", "amount": TEN}, ADMINS),
    "createOffer": Case({"business": SHOP, "item": "<slug>", "currentsSharePercent": 5}, ADMINS),
    "updateOffer": Case({"id": "<offer>", "description": "x"}, ADMINS),
    "deactivateOffer": Case({"id": "<offer>"}, f"{ADMINS} platform_admin"),
    "featureOffer": Case({"id": "<offer>", "isFeatured": True}, "platform_admin"),
    "redeemOffer": Case({"offer": "<offer>", "price": TEN, "receipt": "x"}, SIGNED_IN),
    "approveOrder of a pending redemption": Case({"id": "<redemption>"}, ADMINS, SEE_PURCHASE),
    "approveOrder of the admin's own redemption": Case({"id": "<own_redemption>"}, "co_admin",
        f"accountant {ADMINS} {PLATFORM}", special={"admin": "SELF_APPROVAL"}),
    "rejectOrder of a pending redemption": Case({"id": "<redemption>", "reason": "x"}, ADMINS, SEE_PURCHASE),
    "payOrder of an approved redemption": Case({"id": "<approved_redemption>"}, "platform_admin",
        SEE_PURCHASE),
    "cancelOrder of a pending redemption": Case({"id": "<redemption>"}, "payee", SEE_PURCHASE),
    "logHours": Case(hours_input(5), SIGNED_IN),
    "logHours for a user": Case({**hours_input(6), "volunteer": {"slug": "payee"}}, "payee payer_host_admin"),
    "approveOrder of pending hours": Case({"id": "<hours>"}, "payer_host_admin", SEE_HOURS,
        special={"payee": "SELF_APPROVAL"}),
    "approveOrders of pending hours": Case({"ids": ["<hours>"]}, "payer_host_admin", SEE_HOURS,
        special={"payee": "SELF_APPROVAL"}),
    "approveOrder of the admin's own hours": Case({"id": "<own_hours>"}, "platform_admin",
        f"payer_host_admin {PLATFORM}",
        special={"payer_host_admin": "SELF_APPROVAL"}),
    "rejectOrder of pending hours": Case({"id": "<hours>", "reason": "x"}, "payer_host_admin", SEE_HOURS),
    "cancelOrder of pending hours": Case({"id": "<hours>"}, "payee", SEE_HOURS),
    "cashOut": Case({"amount": money("1.00")}, "payee",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous", "payee"}, "INSUFFICIENT_FUNDS")),
    "approveOrder of a pending cash-out": Case({"id": "<cash_out>"}, "platform_admin", f"payee {PLATFORM}",
        special={"payee": "SELF_APPROVAL"}),
    "rejectOrder of a pending cash-out": Case({"id": "<cash_out>", "reason": "x"}, "platform_admin",
        f"payee {PLATFORM}"),
    "cancelOrder of a pending cash-out": Case({"id": "<cash_out>"}, "payee", f"payee {PLATFORM}"),
    "payOrder of an approved cash-out": Case({"id": "<approved_cash_out>"}, "platform_admin",
        f"payee {PLATFORM}", special={"payee": "SELF_APPROVAL"}),
    "setClearingLimit": Case({"host": {"slug": "payee-host"}, "counterpart": {"slug": "payer-host"},
        "amount": TEN}, "payee_host_admin"),
    "settleHosts": Case({"from": {"slug": "payer-host"}, "to": {"slug": "payee-host"},
        "amount": money("1.00"), "reference": "x"}, "payer_host_admin"),
    "approveOrder of a pending settlement": Case({"id": "<settlement>"}, "payee_host_admin", SEE_SETTLEMENT),
    "rejectOrder of a pending settlement": Case({"id": "<settlement>", "reason": "x"}, "payee_host_admin",
        SEE_SETTLEMENT),
    "cancelOrder of a pending settlement": Case({"id": "<settlement>"}, "payer_host_admin", SEE_SETTLEMENT),
    "setApprovalPolicy": Case({"collective": GIVER, "amount": TEN}, ADMINS),
    "setFxRate": Case({"from": "USD", "to": "EUR", "rate": "0.9"}, "platform_admin"),
    "setPlatformPolicy": Case({"platformFeeBps": 100}, "platform_admin"),
    "decideIssuer": Case({"nonprofit": {"slug": "payer-host"}, "approve": True}, "platform_admin"),
    "setIssuanceCap": Case({"nonprofit": {"slug": "payer-host"}, "period": "WEEK",
        "amount": money("100", "CUR")}, "platform_admin"),
    "changePassword": Case({"currentPassword": "not this one", "newPassword": "longer still"}, "",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous"}, "INVALID_INPUT")),
    "endSession": Case({"id": "<session>"}, "",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous"}, "NOT_FOUND")),
    "endOtherSessions": Case(None, SIGNED_IN),
    "exportMyData": Case(None, SIGNED_IN),
    "eraseMe": Case({"slug": "somebody-else"}, "",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous"}, "INVALID_INPUT")),
    "changeEmail": Case({"email": "<email>"}, SIGNED_IN),
    "unlinkIdentity": Case({"id": "<identity>"}, "",
        special=dict.fromkeys(set(VIEWERS) - {"anonymous"}, "NOT_FOUND")),
    "confirmSession": Case({"password": "not this one"}, "", special=_for_everybody("INVALID_INPUT")),
    "beginPasskeyConfirmation": Case(None, SIGNED_IN),
    "enrollTotp": Case(None, SIGNED_IN),
    "activateTotp": Case({"code": "123456"}, "", special=_for_everybody("INVALID_STATE")),
    "disableTotp": Case(None, "", special=_for_everybody("INVALID_STATE")),
    "renewRecoveryCodes": Case(None, "", special=_for_everybody("INVALID_STATE")),
    "beginPasskeyRegistration": Case(None, SIGNED_IN),
    "registerPasskey": Case({"credential": "none", "name": "x"}, "", special=_for_everybody("INVALID_INPUT")),
    "renamePasskey": Case({"id": "<passkey>", "name": "x"}, "", special=_for_everybody("NOT_FOUND")),
    "removePasskey": Case({"id": "<passkey>"}, "", special=_for_everybody("NOT_FOUND")),
    "requireSecondFactor": Case({"collective": GIVER, "isRequired": True}, "",
        special=dict.fromkeys(ADMINS.split(), "INVALID_STATE")),
    "suspendUser": Case({"user": {"slug": "stranger"}, "reason": "x"}, "platform_admin"),
    "reinstateUser of a suspended user": Case({"user": {"slug": "suspended"}}, "platform_admin"),
    "retryJob of a failed job": Case({"id": "<job>"}, "platform_admin"),
    "mergeUsers": Case({"from": {"slug": "stranger"}, "into": {"slug": "follower"}},
        "stranger follower platform_admin"),
    "muteTopics": Case({"topics": ["MONEY"]}, SIGNED_IN),
}
# fmt: on
OPEN_TO_ALL = {
    "donateAsGuest",
    "signUp",
    "verifyEmail",
    "signIn",
    "requestPasswordReset",
    "resetPassword",
    "confirmEmailChange",
    "undoEmailChange",
    "beginProviderSignIn",
    "completeProviderSignIn",
    "linkProvedIdentity",
    "completeSignIn",
    "beginPasskeySignIn",
    "signInWithPasskey",
}
