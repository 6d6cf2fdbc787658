"""The table of permissions: who may do what, and with which scope of an access token.

The page `docs/permissions.md` is generated from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from models import Collective
from models.enums import CollectiveType, MemberRole, Scope
from services.access.actor import Actor


class Action(StrEnum):
    """An action that needs permission, named after its mutation and the type of order."""

    CREATE_ACCESS_TOKEN = "createAccessToken"
    REVOKE_ACCESS_TOKEN = "revokeAccessToken"
    SIGN_OUT = "signOut"
    CHANGE_PASSWORD = "changePassword"
    CHANGE_EMAIL = "changeEmail"
    LINK_IDENTITY = "beginProviderSignIn of an identity to link"
    UNLINK_IDENTITY = "unlinkIdentity"
    END_SESSION = "endSession"
    END_OTHER_SESSIONS = "endOtherSessions"
    CREATE_COLLECTIVE = "createCollective"
    UPDATE_COLLECTIVE = "updateCollective"
    ARCHIVE_COLLECTIVE = "archiveCollective"
    UNARCHIVE_COLLECTIVE = "unarchiveCollective"
    CREATE_EVENT = "createEvent"
    SET_HOST_FEE = "setHostFee"
    APPLY_TO_HOST = "applyToHost"
    DECIDE_HOST_APPLICATION = "decideHostApplication"
    WITHDRAW_HOST_APPLICATION = "withdrawHostApplication"
    LEAVE_HOST = "leaveHost"
    MOVE_TO_HOST = "moveToHost"
    APPLY_AS_HOST = "applyAsHost"
    DECIDE_HOST = "decideHost"
    SUSPEND_HOST = "suspendHost"
    INVITE_MEMBER = "inviteMember"
    RESPOND_TO_INVITATION = "respondToInvitation"
    WITHDRAW_INVITATION = "withdrawInvitation"
    REMOVE_MEMBER = "removeMember"
    FOLLOW_COLLECTIVE = "followCollective"
    UNFOLLOW_COLLECTIVE = "unfollowCollective"
    CREATE_PAYMENT_METHOD = "createPaymentMethod"
    UPDATE_PAYMENT_METHOD = "updatePaymentMethod"
    ARCHIVE_PAYMENT_METHOD = "archivePaymentMethod"
    CONNECT_HOST = "connectHost"
    CREATE_PAYOUT_METHOD = "createPayoutMethod"
    UPDATE_PAYOUT_METHOD = "updatePayoutMethod"
    ARCHIVE_PAYOUT_METHOD = "archivePayoutMethod"
    DONATE = "donate"
    UPDATE_SUBSCRIPTION = "updateSubscription"
    PAUSE_SUBSCRIPTION = "pauseSubscription"
    RESUME_SUBSCRIPTION = "resumeSubscription"
    CANCEL_SUBSCRIPTION = "cancelSubscription"
    ADD_FUNDS = "addFunds"
    SUBMIT_EXPENSE = "submitExpense"
    UPDATE_EXPENSE = "updateExpense"
    CONFIRM_CONTRIBUTION = "confirmContribution"
    DENY_CONTRIBUTION = "denyContribution"
    TRANSFER_FUNDS = "transferFunds"
    APPROVE_DONATION = "approveOrder of a DONATION"
    APPROVE_EXPENSE = "approveOrder of an EXPENSE"
    REJECT_DONATION = "rejectOrder of a DONATION"
    REJECT_EXPENSE = "rejectOrder of an EXPENSE"
    PAY_EXPENSE = "payOrder of an EXPENSE"
    CANCEL_ORDER = "cancelOrder"
    REFUND_DONATION = "refundOrder of a DONATION or ADDED_FUNDS"
    REFUND_EXPENSE = "refundOrder of an EXPENSE"
    REFUND_TRANSFER = "refundOrder of a TRANSFER"
    REFUND_HOURS = "refundOrder of HOURS"
    REFUND_REDEMPTION = "refundOrder of a REDEMPTION"
    REFUND_CASH_OUT = "refundOrder of a CASH_OUT"
    LOG_HOURS = "logHours"
    APPROVE_HOURS = "approveOrder of HOURS"
    REJECT_HOURS = "rejectOrder of HOURS"
    REDEEM_OFFER = "redeemOffer"
    APPROVE_REDEMPTION = "approveOrder of a REDEMPTION"
    REJECT_REDEMPTION = "rejectOrder of a REDEMPTION"
    PAY_REDEMPTION = "payOrder of a REDEMPTION"
    CASH_OUT = "cashOut"
    APPROVE_CASH_OUT = "approveOrder of a CASH_OUT"
    REJECT_CASH_OUT = "rejectOrder of a CASH_OUT"
    PAY_CASH_OUT = "payOrder of a CASH_OUT"
    CREATE_OFFER = "createOffer"
    UPDATE_OFFER = "updateOffer"
    DEACTIVATE_OFFER = "deactivateOffer"
    FEATURE_OFFER = "featureOffer"
    CREATE_TIER = "createTier"
    UPDATE_TIER = "updateTier"
    ARCHIVE_TIER = "archiveTier"
    SET_GOAL = "setGoal"
    UPDATE_EVENT = "updateEvent"
    CANCEL_EVENT = "cancelEvent"
    REGISTER_FOR_EVENT = "registerForEvent"
    CANCEL_REGISTRATION = "cancelRegistration"
    INVITE_TO_EVENT = "inviteToEvent"
    SEND_EVENT_MESSAGE = "sendEventMessage"
    READ_ATTENDEES = "attendees of an event as CSV"
    READ_CALENDAR = "calendar of one's own events"
    CHECK_IN = "checkIn"
    CHECK_OUT = "checkOut"
    DECIDE_ISSUER = "decideIssuer"
    SET_ISSUANCE_CAP = "setIssuanceCap"
    MERGE_USERS = "mergeUsers"
    SUSPEND_USER = "suspendUser"
    REINSTATE_USER = "reinstateUser"
    MUTE_TOPICS = "muteTopics"
    READ_HOURS = "hours of a nonprofit, and their export"
    READ_LIABILITY = "liabilityReport"
    SET_CLEARING_LIMIT = "setClearingLimit"
    SETTLE_HOSTS = "settleHosts"
    APPROVE_SETTLEMENT = "approveOrder of a SETTLEMENT"
    REJECT_SETTLEMENT = "rejectOrder of a SETTLEMENT"
    READ_CLEARING = "clearing"
    SET_APPROVAL_POLICY = "setApprovalPolicy"
    READ_AUDIT_LOG = "auditLog of a collective"
    READ_WHOLE_AUDIT_LOG = "auditLog"
    READ_JOBS = "jobs"
    RETRY_JOB = "retryJob"
    SET_FX_RATE = "setFxRate"
    SET_PLATFORM_POLICY = "setPlatformPolicy"
    CONFIRM_SESSION = "confirmSession"
    BEGIN_PASSKEY_CONFIRMATION = "beginPasskeyConfirmation"
    ENROLL_TOTP = "enrollTotp"
    ACTIVATE_TOTP = "activateTotp"
    DISABLE_TOTP = "disableTotp"
    RENEW_RECOVERY_CODES = "renewRecoveryCodes"
    BEGIN_PASSKEY_REGISTRATION = "beginPasskeyRegistration"
    REGISTER_PASSKEY = "registerPasskey"
    RENAME_PASSKEY = "renamePasskey"
    REMOVE_PASSKEY = "removePasskey"
    REQUIRE_SECOND_FACTOR = "requireSecondFactor"
    EXPORT_MY_DATA = "exportMyData"
    ERASE_ME = "eraseMe"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The object of an action; each rule reads the fields it names."""

    collective: Collective | None = None
    host: Collective | None = None
    payer: Collective | None = None
    payee: Collective | None = None
    payer_host: Collective | None = None
    payee_host: Collective | None = None
    created_by_actor: bool = False
    has_no_free_admin: bool = False
    """True if every ADMIN of the deciding side has an interest in the order."""
    has_no_free_host: bool = False
    """True if that side has no other host, or every ADMIN of its host has an interest in the order, too."""


Rule = Callable[[Actor, Subject], bool]


def anyone_signed_in(actor: Actor, _: Subject) -> bool:
    """Any claimed user."""
    return actor.user is not None


def admin_of_collective(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the collective (of an event: of its parent, too), or the user itself."""
    return actor.is_admin(subject.collective)


def user_concerned(actor: Actor, subject: Subject) -> bool:
    """The user concerned."""
    return subject.collective is not None and subject.collective.id == actor.id


def admin_of_host(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the host."""
    return _organization_admin(actor, subject.host)


def admin_of_payer(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the paying side (a user: itself)."""
    return actor.is_admin(subject.payer)


def admin_of_payee(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the receiving side (a user: itself)."""
    return actor.is_admin(subject.payee)


def admin_of_payer_host(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the host of the paying side."""
    return _organization_admin(actor, subject.payer_host)


def admin_of_payee_host(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the host of the receiving side."""
    return _organization_admin(actor, subject.payee_host)


def admin_of_payer_host_alone(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the host of the paying side, where the paying side has no ADMIN without an interest."""
    return subject.has_no_free_admin and _organization_admin(actor, subject.payer_host)


def admin_of_payee_host_alone(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the host of the receiving side, where that has no ADMIN without an interest."""
    return subject.has_no_free_admin and _organization_admin(actor, subject.payee_host)


def platform_admin_alone(actor: Actor, subject: Subject) -> bool:
    """ADMIN of the platform, where the deciding side and its host have no ADMIN without an interest."""
    return subject.has_no_free_admin and subject.has_no_free_host and actor.is_platform_admin


def creator(actor: Actor, subject: Subject) -> bool:
    """Creator of the order."""
    return actor.user is not None and subject.created_by_actor


def one_of_both_users(actor: Actor, subject: Subject) -> bool:
    """Either of the two users."""
    return actor.id is not None and actor.id in {s.id for s in (subject.payer, subject.payee) if s}


def platform_admin(actor: Actor, _: Subject) -> bool:
    """ADMIN of the platform."""
    return actor.is_platform_admin


def platform_reader(actor: Actor, _: Subject) -> bool:
    """ADMIN or ACCOUNTANT of the platform."""
    return actor.is_platform_accountant


def reader_of_collective(actor: Actor, subject: Subject) -> bool:
    """ADMIN or ACCOUNTANT of the collective."""
    return actor.has_role_in(subject.collective, MemberRole.ADMIN, MemberRole.ACCOUNTANT)


def _organization_admin(actor: Actor, host: Collective | None) -> bool:
    return host is not None and host.type != CollectiveType.USER and actor.is_admin(host)


RULES: dict[Action, tuple[Scope, tuple[Rule, ...]]] = {
    Action.CREATE_ACCESS_TOKEN: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.REVOKE_ACCESS_TOKEN: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.SIGN_OUT: (Scope.READ, (anyone_signed_in,)),
    Action.CHANGE_PASSWORD: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.CHANGE_EMAIL: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.LINK_IDENTITY: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.UNLINK_IDENTITY: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.END_SESSION: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.END_OTHER_SESSIONS: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.CREATE_COLLECTIVE: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.UPDATE_COLLECTIVE: (Scope.COLLECTIVES, (admin_of_collective, platform_admin)),
    Action.ARCHIVE_COLLECTIVE: (Scope.COLLECTIVES, (admin_of_collective, platform_admin)),
    Action.UNARCHIVE_COLLECTIVE: (Scope.COLLECTIVES, (admin_of_collective, platform_admin)),
    Action.CREATE_EVENT: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.SET_HOST_FEE: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.APPLY_TO_HOST: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.DECIDE_HOST_APPLICATION: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.WITHDRAW_HOST_APPLICATION: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.LEAVE_HOST: (Scope.COLLECTIVES, (admin_of_collective, admin_of_host)),
    Action.MOVE_TO_HOST: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.APPLY_AS_HOST: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.DECIDE_HOST: (Scope.APPROVE, (platform_admin,)),
    Action.SUSPEND_HOST: (Scope.APPROVE, (platform_admin,)),
    Action.INVITE_MEMBER: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.RESPOND_TO_INVITATION: (Scope.COLLECTIVES, (user_concerned,)),
    Action.WITHDRAW_INVITATION: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.REMOVE_MEMBER: (Scope.COLLECTIVES, (admin_of_collective, user_concerned)),
    Action.FOLLOW_COLLECTIVE: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.UNFOLLOW_COLLECTIVE: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.CREATE_PAYMENT_METHOD: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.UPDATE_PAYMENT_METHOD: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.ARCHIVE_PAYMENT_METHOD: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.CONNECT_HOST: (Scope.COLLECTIVES, (admin_of_host,)),
    Action.CREATE_PAYOUT_METHOD: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.UPDATE_PAYOUT_METHOD: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.ARCHIVE_PAYOUT_METHOD: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.DONATE: (Scope.ORDERS, (admin_of_payer,)),
    Action.UPDATE_SUBSCRIPTION: (Scope.ORDERS, (admin_of_payer,)),
    Action.PAUSE_SUBSCRIPTION: (Scope.ORDERS, (admin_of_payer, admin_of_payee, admin_of_payee_host)),
    Action.RESUME_SUBSCRIPTION: (Scope.ORDERS, (admin_of_payer, admin_of_payee, admin_of_payee_host)),
    Action.CANCEL_SUBSCRIPTION: (Scope.ORDERS, (admin_of_payer, admin_of_payee, admin_of_payee_host)),
    Action.ADD_FUNDS: (Scope.ORDERS, (admin_of_payee_host,)),
    Action.SUBMIT_EXPENSE: (Scope.ORDERS, (admin_of_payee, admin_of_payer)),
    Action.UPDATE_EXPENSE: (Scope.ORDERS, (admin_of_payee,)),
    Action.CONFIRM_CONTRIBUTION: (Scope.ORDERS, (admin_of_payer,)),
    Action.DENY_CONTRIBUTION: (Scope.ORDERS, (admin_of_payer,)),
    Action.TRANSFER_FUNDS: (Scope.ORDERS, (admin_of_payer,)),
    Action.APPROVE_DONATION: (Scope.APPROVE, (admin_of_payee_host,)),
    Action.APPROVE_EXPENSE: (
        Scope.APPROVE,
        (admin_of_payer, admin_of_payer_host_alone, platform_admin_alone),
    ),
    Action.REJECT_DONATION: (Scope.APPROVE, (admin_of_payee_host,)),
    Action.REJECT_EXPENSE: (Scope.APPROVE, (admin_of_payer, admin_of_payer_host)),
    Action.PAY_EXPENSE: (Scope.APPROVE, (admin_of_payer_host,)),
    Action.CANCEL_ORDER: (Scope.ORDERS, (creator, admin_of_collective)),
    Action.REFUND_DONATION: (Scope.APPROVE, (admin_of_payee_host,)),
    Action.REFUND_EXPENSE: (Scope.APPROVE, (admin_of_payer_host,)),
    Action.REFUND_TRANSFER: (Scope.APPROVE, (admin_of_payee, admin_of_payee_host)),
    Action.REFUND_HOURS: (Scope.APPROVE, (admin_of_payer,)),
    Action.REFUND_REDEMPTION: (Scope.APPROVE, (platform_admin,)),
    Action.REFUND_CASH_OUT: (Scope.APPROVE, (platform_admin,)),
    Action.LOG_HOURS: (Scope.ORDERS, (admin_of_payee, admin_of_payer)),
    Action.APPROVE_HOURS: (Scope.APPROVE, (admin_of_payer, admin_of_payer_host_alone, platform_admin_alone)),
    Action.REJECT_HOURS: (Scope.APPROVE, (admin_of_payer,)),
    Action.REDEEM_OFFER: (Scope.ORDERS, (anyone_signed_in,)),
    Action.APPROVE_REDEMPTION: (
        Scope.APPROVE,
        (admin_of_payee, admin_of_payee_host_alone, platform_admin_alone),
    ),
    Action.REJECT_REDEMPTION: (Scope.APPROVE, (admin_of_payee,)),
    Action.PAY_REDEMPTION: (Scope.APPROVE, (platform_admin,)),
    Action.CASH_OUT: (Scope.ORDERS, (anyone_signed_in,)),
    Action.APPROVE_CASH_OUT: (Scope.APPROVE, (platform_admin,)),
    Action.REJECT_CASH_OUT: (Scope.APPROVE, (platform_admin,)),
    Action.PAY_CASH_OUT: (Scope.APPROVE, (platform_admin,)),
    Action.CREATE_OFFER: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.UPDATE_OFFER: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.DEACTIVATE_OFFER: (Scope.COLLECTIVES, (admin_of_collective, platform_admin)),
    Action.FEATURE_OFFER: (Scope.COLLECTIVES, (platform_admin,)),
    Action.CREATE_TIER: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.UPDATE_TIER: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.ARCHIVE_TIER: (Scope.COLLECTIVES, (admin_of_collective, platform_admin)),
    Action.SET_GOAL: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.UPDATE_EVENT: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.CANCEL_EVENT: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.REGISTER_FOR_EVENT: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.CANCEL_REGISTRATION: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.INVITE_TO_EVENT: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.SEND_EVENT_MESSAGE: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.READ_ATTENDEES: (Scope.READ, (admin_of_collective,)),
    Action.READ_CALENDAR: (Scope.CALENDAR, (anyone_signed_in,)),
    Action.CHECK_IN: (Scope.APPROVE, (admin_of_collective,)),
    Action.CHECK_OUT: (Scope.APPROVE, (admin_of_collective,)),
    Action.DECIDE_ISSUER: (Scope.APPROVE, (platform_admin,)),
    Action.SET_ISSUANCE_CAP: (Scope.APPROVE, (platform_admin,)),
    Action.SUSPEND_USER: (Scope.APPROVE, (platform_admin,)),
    Action.REINSTATE_USER: (Scope.APPROVE, (platform_admin,)),
    Action.MERGE_USERS: (Scope.APPROVE, (one_of_both_users, platform_admin)),
    Action.MUTE_TOPICS: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.READ_HOURS: (Scope.READ, (reader_of_collective, platform_reader)),
    Action.READ_LIABILITY: (Scope.READ, (platform_reader,)),
    Action.SET_CLEARING_LIMIT: (Scope.APPROVE, (admin_of_host,)),
    Action.SETTLE_HOSTS: (Scope.ORDERS, (admin_of_payer,)),
    Action.APPROVE_SETTLEMENT: (Scope.APPROVE, (admin_of_payee,)),
    Action.REJECT_SETTLEMENT: (Scope.APPROVE, (admin_of_payee,)),
    Action.READ_CLEARING: (Scope.READ, (reader_of_collective, platform_reader)),
    Action.SET_APPROVAL_POLICY: (Scope.APPROVE, (admin_of_collective,)),
    Action.READ_AUDIT_LOG: (Scope.READ, (admin_of_collective, admin_of_host, platform_admin)),
    Action.READ_WHOLE_AUDIT_LOG: (Scope.READ, (platform_admin,)),
    Action.READ_JOBS: (Scope.READ, (platform_admin,)),
    Action.RETRY_JOB: (Scope.APPROVE, (platform_admin,)),
    Action.SET_FX_RATE: (Scope.APPROVE, (platform_admin,)),
    Action.SET_PLATFORM_POLICY: (Scope.APPROVE, (platform_admin,)),
    Action.CONFIRM_SESSION: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.BEGIN_PASSKEY_CONFIRMATION: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.ENROLL_TOTP: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.ACTIVATE_TOTP: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.DISABLE_TOTP: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.RENEW_RECOVERY_CODES: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.BEGIN_PASSKEY_REGISTRATION: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.REGISTER_PASSKEY: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.RENAME_PASSKEY: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.REMOVE_PASSKEY: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.REQUIRE_SECOND_FACTOR: (Scope.COLLECTIVES, (admin_of_collective,)),
    Action.EXPORT_MY_DATA: (Scope.COLLECTIVES, (anyone_signed_in,)),
    Action.ERASE_ME: (Scope.COLLECTIVES, (anyone_signed_in,)),
}

SESSION_ONLY = frozenset(
    {
        Action.CHANGE_PASSWORD,
        Action.CHANGE_EMAIL,
        Action.LINK_IDENTITY,
        Action.UNLINK_IDENTITY,
        Action.END_SESSION,
        Action.END_OTHER_SESSIONS,
        Action.MERGE_USERS,
        Action.CONFIRM_SESSION,
        Action.BEGIN_PASSKEY_CONFIRMATION,
        Action.ENROLL_TOTP,
        Action.ACTIVATE_TOTP,
        Action.DISABLE_TOTP,
        Action.RENEW_RECOVERY_CODES,
        Action.BEGIN_PASSKEY_REGISTRATION,
        Action.REGISTER_PASSKEY,
        Action.RENAME_PASSKEY,
        Action.REMOVE_PASSKEY,
        Action.REQUIRE_SECOND_FACTOR,
        Action.EXPORT_MY_DATA,
        Action.ERASE_ME,
    }
)
"""Actions on a person's own keys: only that person in a session, no access token whatever its scopes."""

CONFIRMED = frozenset(
    {
        # a person's own keys
        Action.CREATE_ACCESS_TOKEN,
        Action.CHANGE_EMAIL,
        Action.LINK_IDENTITY,
        Action.UNLINK_IDENTITY,
        Action.ENROLL_TOTP,
        Action.DISABLE_TOTP,
        Action.RENEW_RECOVERY_CODES,
        Action.BEGIN_PASSKEY_REGISTRATION,
        Action.REMOVE_PASSKEY,
        Action.EXPORT_MY_DATA,
        Action.ERASE_ME,
        # roles, and who may hold them
        Action.INVITE_MEMBER,
        Action.REMOVE_MEMBER,
        Action.REQUIRE_SECOND_FACTOR,
        # where money goes
        Action.CONNECT_HOST,
        Action.CREATE_PAYMENT_METHOD,
        Action.UPDATE_PAYMENT_METHOD,
        Action.CREATE_PAYOUT_METHOD,
        Action.UPDATE_PAYOUT_METHOD,
        Action.PAY_EXPENSE,
        Action.PAY_REDEMPTION,
        Action.PAY_CASH_OUT,
        Action.REFUND_DONATION,
        Action.REFUND_EXPENSE,
        Action.REFUND_TRANSFER,
        Action.REFUND_HOURS,
        Action.REFUND_REDEMPTION,
        Action.REFUND_CASH_OUT,
        # hosts
        Action.ADD_FUNDS,
        Action.SET_HOST_FEE,
        Action.DECIDE_HOST_APPLICATION,
        Action.LEAVE_HOST,
        Action.MOVE_TO_HOST,
        Action.SET_CLEARING_LIMIT,
        Action.SET_APPROVAL_POLICY,
        Action.SETTLE_HOSTS,
        Action.APPROVE_SETTLEMENT,
        # the platform
        Action.APPROVE_CASH_OUT,
        Action.DECIDE_HOST,
        Action.SUSPEND_HOST,
        Action.DECIDE_ISSUER,
        Action.SET_ISSUANCE_CAP,
        Action.SET_FX_RATE,
        Action.SET_PLATFORM_POLICY,
        Action.FEATURE_OFFER,
        Action.SUSPEND_USER,
        Action.REINSTATE_USER,
        Action.MERGE_USERS,
        Action.RETRY_JOB,
    }
)
"""Actions that need a session confirmed lately. What an access token may do, its scopes say."""

CONFIRMED_ABOVE = frozenset(
    {
        Action.DONATE,
        Action.TRANSFER_FUNDS,
        Action.APPROVE_DONATION,
        Action.APPROVE_EXPENSE,
        Action.APPROVE_HOURS,
        Action.APPROVE_REDEMPTION,
    }
)
"""Actions that need one above the amount of the platform's policy; see `orders.confirmed_amounts`."""
