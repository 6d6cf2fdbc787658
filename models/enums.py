"""Closed vocabularies. In the API, each member is described by its docstring."""

from enum import StrEnum


class Locale(StrEnum):
    """A language of mails and pages."""

    EN = "EN"
    """The English language."""
    DE = "DE"
    """The German language."""
    FR = "FR"
    """The French language."""
    ES = "ES"
    """The Spanish language."""


class CollectiveType(StrEnum):
    """Kind of entity that a collective is."""

    USER = "USER"
    """A person, claimed or known by email address alone."""
    COMMUNITY = "COMMUNITY"
    """A group without a legal entity of its own; a host holds its money."""
    NONPROFIT = "NONPROFIT"
    """A nonprofit organization that may host others."""
    BUSINESS = "BUSINESS"
    """A commercial organization."""
    EVENT = "EVENT"
    """An event of its parent; it holds members, not money."""


class MemberRole(StrEnum):
    """Role of a member in a collective. A member with several roles has a row for each."""

    HOST = "HOST"
    """Legal holder of the collective's bank account."""
    ADMIN = "ADMIN"
    """Acts on behalf of the collective."""
    ACCOUNTANT = "ACCOUNTANT"
    """Reads the collective's private financial data."""
    MEMBER = "MEMBER"
    """Contributes to the collective."""
    BACKER = "BACKER"
    """Gave money to the collective."""
    VOLUNTEER = "VOLUNTEER"
    """Has approved hours with the collective."""
    ATTENDEE = "ATTENDEE"
    """Registered for the event."""
    WAITING = "WAITING"
    """On the waiting list of a full event."""
    FOLLOWER = "FOLLOWER"
    """Follows the collective's news."""


class OrderType(StrEnum):
    """Kind of payment that an order intends."""

    DONATION = "DONATION"
    """Money given to a hosted collective."""
    ADDED_FUNDS = "ADDED_FUNDS"
    """Money that a host received outside the platform and adds to a balance."""
    EXPENSE = "EXPENSE"
    """A bill or receipt that a collective is asked to pay."""
    HOURS = "HOURS"
    """Volunteer time that a nonprofit approves; it issues currents."""
    REDEMPTION = "REDEMPTION"
    """Currents given to a business for part of a price."""
    TRANSFER = "TRANSFER"
    """Money moved from one balance to another."""
    CASH_OUT = "CASH_OUT"
    """Payout of a user's balance."""
    BONUS = "BONUS"
    """Currents that the platform gives a new user, once."""
    SETTLEMENT = "SETTLEMENT"
    """Payment from host to host of what clearing between them owes, or of fees to the platform."""


class OrderStatus(StrEnum):
    """Status of an order."""

    PENDING = "PENDING"
    """Waiting for approval."""
    APPROVED = "APPROVED"
    """Approved; its amount is held until it is paid."""
    REJECTED = "REJECTED"
    """Rejected, with a reason."""
    PAID = "PAID"
    """Settled: its transactions are in the ledger."""
    CANCELLED = "CANCELLED"
    """Cancelled before it was settled."""
    EXPIRED = "EXPIRED"
    """Not decided in time."""
    FAILED = "FAILED"
    """Not paid: refused by a payment provider, or not covered by the payer's balance."""
    REFUNDED = "REFUNDED"
    """Settled and refunded in full."""


class OrderActionType(StrEnum):
    """Kind of step in an order's history."""

    CREATE = "CREATE"
    """The order was created."""
    EDIT = "EDIT"
    """The payee changed the expense, which is pending again."""
    APPROVE = "APPROVE"
    """The order was approved, possibly with a different amount."""
    REJECT = "REJECT"
    """The order was rejected."""
    PAY = "PAY"
    """The order was settled."""
    CANCEL = "CANCEL"
    """The order was cancelled."""
    EXPIRE = "EXPIRE"
    """The order expired."""
    REFUND = "REFUND"
    """The order was refunded, in full or in part."""
    CONFIRM = "CONFIRM"
    """The giver confirmed funds that a host added in their name."""
    DENY = "DENY"
    """The giver denied funds that a host added in their name."""
    FAIL = "FAIL"
    """A payment of the order was refused."""
    DISPUTE = "DISPUTE"
    """The giver's bank disputed the payment."""
    DISPUTE_END = "DISPUTE_END"
    """The dispute of the payment was decided."""


class GiverStatus(StrEnum):
    """Answer of the giver in whose name a host added funds."""

    WAITING = "WAITING"
    """Not answered yet; the origin of the funds counts as unknown."""
    CONFIRMED = "CONFIRMED"
    """Confirmed: the order shows the giver."""
    DENIED = "DENIED"
    """Denied: the origin of the funds stays unknown."""


class TransactionKind(StrEnum):
    """Kind of movement that a transaction records."""

    DONATION = "DONATION"
    """Money given to a collective."""
    ADDED_FUNDS = "ADDED_FUNDS"
    """Money added by the host."""
    EXPENSE = "EXPENSE"
    """A bill that was paid."""
    TRANSFER = "TRANSFER"
    """Money moved from one balance to another."""
    HOURS = "HOURS"
    """Currents issued for approved hours."""
    REDEMPTION = "REDEMPTION"
    """Currents accepted by a business."""
    REDEMPTION_PAYOUT = "REDEMPTION_PAYOUT"
    """US dollars paid to the user for a redemption."""
    CASH_OUT = "CASH_OUT"
    """Payout of a user's balance."""
    BONUS = "BONUS"
    """Currents that the platform issued to a new user."""
    MERGE = "MERGE"
    """A balance moved to the remaining account when two accounts were merged."""
    HOST_FEE = "HOST_FEE"
    """A host fee that imported history keeps as a row of its own."""
    PAYMENT_PROCESSOR_COVER = "PAYMENT_PROCESSOR_COVER"
    """Payment by the host of the processor fee kept from a refunded payment."""
    REFUND = "REFUND"
    """Full or partial refund: the mirror image of the original transaction."""
    SETTLEMENT = "SETTLEMENT"
    """Payment by a host of what it owed another one."""
    PLATFORM_FEE_SETTLEMENT = "PLATFORM_FEE_SETTLEMENT"
    """Payment to the platform of the fees that a host kept for it."""
    OPENING_BALANCE = "OPENING_BALANCE"
    """Balance at the start of imported history."""
    HOST_MOVE = "HOST_MOVE"
    """Balance that a collective took to its new host."""
    TAX = "TAX"
    """Tax that imported history keeps as a row of its own."""
    PLATFORM_TIP = "PLATFORM_TIP"
    """Tip for the platform that imported history keeps as a row of its own."""
    PREPAID_PAYMENT_METHOD = "PREPAID_PAYMENT_METHOD"
    """Imported history: money paid in advance, or given from it."""
    HOST_FEE_SHARE = "HOST_FEE_SHARE"
    """Imported history: the platform's share of a host's fees."""
    HOST_FEE_SHARE_DEBT = "HOST_FEE_SHARE_DEBT"
    """Imported history: such a share that the host owed."""
    PAYMENT_PROCESSOR_FEE = "PAYMENT_PROCESSOR_FEE"
    """Imported history: a processor's fee as a row of its own."""
    DISPUTE_COVER = "DISPUTE_COVER"
    """Payment between a payee and its host of what one of them lacked when money went back to its giver."""
    DISPUTE_FEE = "DISPUTE_FEE"
    """Payment by the host of the fee of a lost dispute."""


class LedgerAccountKind(StrEnum):
    """Kind of a ledger account."""

    BALANCE = "BALANCE"
    """Amount that the book's host owes the owner."""
    CASH = "CASH"
    """The host's bank and processor accounts; money held is negative."""
    ISSUANCE = "ISSUANCE"
    """Currents that a nonprofit has issued."""
    EXCHANGE = "EXCHANGE"
    """The host's open position where a collective's currency differs from its own."""
    CLEARING = "CLEARING"
    """Debt to another host, its owner; negative if that host owes this one."""


class CurrencyKind(StrEnum):
    """Kind of value that a currency measures."""

    FIAT = "FIAT"
    """Money, with an ISO 4217 code."""
    TIME = "TIME"
    """Time: 1.000 is one hour."""


class PaymentMethodKind(StrEnum):
    """Kind of payment, which decides when it is settled."""

    BALANCE = "BALANCE"
    """From the giver's balance, at once."""
    MANUAL = "MANUAL"
    """By bank transfer, when the host confirms its receipt."""
    PROVIDER = "PROVIDER"
    """By card or the like, when the payment provider confirms it."""


class ProviderName(StrEnum):
    """Company that collects payments for hosts."""

    FAKE = "FAKE"
    """A pretended provider for tests and the demo: it moves no money."""
    STRIPE = "STRIPE"
    """The company Stripe."""


class ProviderAccountStatus(StrEnum):
    """State of a host's account at a payment provider."""

    PENDING = "PENDING"
    """The host has to agree at the provider first."""
    ACTIVE = "ACTIVE"
    """Collects payments for the host."""
    DISABLED = "DISABLED"
    """Disconnected; what was paid through it stays."""


class ProviderPaymentStatus(StrEnum):
    """State of a payment at its provider."""

    OPEN = "OPEN"
    """Waits for the giver."""
    PROCESSING = "PROCESSING"
    """Waits for the giver's bank."""
    SUCCEEDED = "SUCCEEDED"
    """Collected."""
    FAILED = "FAILED"
    """Refused."""
    CANCELLED = "CANCELLED"
    """Given up."""


class ProviderRefundStatus(StrEnum):
    """State of a refund at its provider."""

    REQUESTED = "REQUESTED"
    """Not sent to the provider yet."""
    SENT = "SENT"
    """Sent; the provider has not confirmed it."""
    CONFIRMED = "CONFIRMED"
    """Given back."""
    FAILED = "FAILED"
    """Refused by the provider."""


class DisputeStatus(StrEnum):
    """State of a dispute over a payment."""

    OPEN = "OPEN"
    """The giver's bank wants the money back."""
    WON = "WON"
    """The host keeps the money."""
    LOST = "LOST"
    """The giver got the money back."""


class PayoutMethodKind(StrEnum):
    """Kind of payout to a payee."""

    BALANCE = "BALANCE"
    """Into the payee's balance on the platform."""
    MANUAL = "MANUAL"
    """Outside the platform, in a way agreed elsewhere."""
    BANK_ACCOUNT = "BANK_ACCOUNT"
    """Outside the platform, to a bank account."""
    PAYPAL = "PAYPAL"
    """Outside the platform, to a PayPal account."""
    OTHER = "OTHER"
    """Outside the platform, as described in the details."""


class FeesPayer(StrEnum):
    """Side that bears the payout fee."""

    PAYER = "PAYER"
    """The paying collective, on top of the amount."""
    PAYEE = "PAYEE"
    """The payee, out of the amount."""


class NamedBy(StrEnum):
    """How somebody else gave a person a role that the person has not agreed to."""

    REFERENCE = "REFERENCE"
    """By the person's public name, or by letting them in."""
    ADDRESS = "ADDRESS"
    """By their email address: whoever knows it does not learn whose it is."""


class RequestStatus(StrEnum):
    """Status of an invitation or a host application."""

    PENDING = "PENDING"
    """Waiting for an answer."""
    ACCEPTED = "ACCEPTED"
    """Accepted by the recipient."""
    DECLINED = "DECLINED"
    """Declined by the recipient."""
    WITHDRAWN = "WITHDRAWN"
    """Withdrawn by the sender, or ended because a side was archived."""
    EXPIRED = "EXPIRED"
    """Not answered within 30 days."""


class TokenKind(StrEnum):
    """Kind of a bearer token."""

    SESSION = "SESSION"
    """The session of a browser or client, with every scope."""
    ACCESS = "ACCESS"
    """Created by the user for a program, with the chosen scopes."""


class EmailTokenPurpose(StrEnum):
    """Purpose of a mailed token."""

    VERIFY = "VERIFY"
    """Proves that the reader owns the address."""
    RESET = "RESET"
    """Lets the reader set a new password."""


class Proof(StrEnum):
    """A way in which a person shows who they are."""

    PASSWORD = "PASSWORD"
    """The password, where the account has no second factor."""
    TOTP = "TOTP"
    """A code of an authenticator app."""
    PASSKEY = "PASSKEY"
    """A passkey or security key."""
    RECOVERY_CODE = "RECOVERY_CODE"
    """One of the recovery codes, each of which works once."""


class ChallengePurpose(StrEnum):
    """What a challenge is answered for."""

    SIGN_IN = "SIGN_IN"
    """The second step of a sign-in."""
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"
    """A sign-in with a passkey, by whoever has it."""
    PASSKEY_REGISTRATION = "PASSKEY_REGISTRATION"
    """A new passkey."""
    PASSKEY_CONFIRMATION = "PASSKEY_CONFIRMATION"
    """A factor of a person who is known already."""


class Scope(StrEnum):
    """Operations that an access token allows."""

    READ = "READ"
    """Read everything that the user may read."""
    COLLECTIVES = "COLLECTIVES"
    """Create and edit collectives, members and applications."""
    ORDERS = "ORDERS"
    """Create orders and move money."""
    APPROVE = "APPROVE"
    """Approve, reject, pay and refund orders."""
    CALENDAR = "CALENDAR"
    """Subscribe to a calendar of the user's events at `/my-calendar.ics`, and nothing else."""


class CreditPolicy(StrEnum):
    """Hours that an attendee of an event is credited."""

    FULL_EVENT = "FULL_EVENT"
    """The whole event, credited at check-in."""
    ACTUAL = "ACTUAL"
    """From check-in to check-out, at most the whole event, credited at check-out."""


class LiveKind(StrEnum):
    """Subject of a live event."""

    ORDER = "ORDER"
    """An order was created or changed."""
    TRANSACTION = "TRANSACTION"
    """A transaction was posted."""
    CHECK_IN = "CHECK_IN"
    """A person was checked in to or out of an event."""
    START = "START"
    """The marker before which no events are kept."""


class CapPeriod(StrEnum):
    """Period of an issuance cap; each begins at midnight UTC."""

    WEEK = "WEEK"
    """A calendar week, from Monday."""
    MONTH = "MONTH"
    """A calendar month."""
    YEAR = "YEAR"
    """A calendar year."""


class RedemptionCap(StrEnum):
    """Limit that reduces the currents of a redemption below the price's share."""

    BALANCE = "BALANCE"
    """The user's available balance."""
    WEEKLY_LIMIT = "WEEKLY_LIMIT"
    """The limit for master offers within seven days."""
    RECEIVED_LATELY = "RECEIVED_LATELY"
    """Currents received from others within seven days, which master offers do not take."""


class Topic(StrEnum):
    """Topic of a mail, which a person can mute."""

    MONEY = "MONEY"
    """Donations, expenses and refunds."""
    HOURS = "HOURS"
    """Hours requested, approved and rejected."""
    EVENTS = "EVENTS"
    """Registrations, changes and messages of events."""
    REDEMPTIONS = "REDEMPTIONS"
    """Offers, redemptions and cash-outs."""
    MEMBERS = "MEMBERS"
    """Invitations and host applications."""


class ActChange(StrEnum):
    """Kind of change that an act made."""

    ADDED = "ADDED"
    """It was added; of a policy or rate, as the next version."""
    CHANGED = "CHANGED"
    """It was changed."""
    REMOVED = "REMOVED"
    """It was removed."""


class JobStatus(StrEnum):
    """State of a job of the worker."""

    QUEUED = "QUEUED"
    """Waits for a worker, or for its time."""
    RUNNING = "RUNNING"
    """A worker is doing it."""
    SUCCEEDED = "SUCCEEDED"
    """Done without an error."""
    FAILED = "FAILED"
    """Its last attempt failed; `retryJob` allows another."""
    CANCELLED = "CANCELLED"
    """Broken off, and not needed any more: its next turn took its place."""


class TierType(StrEnum):
    """Kind of what a tier gives in return."""

    DONATION = "DONATION"
    """Nothing but thanks."""
    MEMBERSHIP = "MEMBERSHIP"
    """Membership in the collective."""
    TICKET = "TICKET"
    """A ticket; that of an event registers the giver."""
    PRODUCT = "PRODUCT"
    """A product of the collective."""


class TierPricing(StrEnum):
    """Side that chooses the amount of a gift in a tier."""

    FIXED = "FIXED"
    """The collective: each costs the same."""
    FLEXIBLE = "FLEXIBLE"
    """The giver, from a minimum on."""


class GiftInterval(StrEnum):
    """Time from one charge of a recurring gift to the next."""

    MONTH = "MONTH"
    """Every calendar month."""
    YEAR = "YEAR"
    """Every calendar year."""


class GiftStatus(StrEnum):
    """Status of a recurring gift."""

    ACTIVE = "ACTIVE"
    """Charged on its next day."""
    PAST_DUE = "PAST_DUE"
    """The last charge was refused; it is tried again."""
    PAUSED = "PAUSED"
    """Not charged until it is resumed."""
    CANCELLED = "CANCELLED"
    """Ended by one of the two sides, the host or the platform."""
    ENDED = "ENDED"
    """Ended on the day that the payer chose."""


class GiftParty(StrEnum):
    """Party that paused a recurring gift."""

    PAYER = "PAYER"
    """The giver itself."""
    PAYEE = "PAYEE"
    """The receiving collective."""
    HOST = "HOST"
    """The host of the receiver."""
    PLATFORM = "PLATFORM"
    """The platform, because the gift could not go on."""


class GiftDirection(StrEnum):
    """Side of recurring gifts on which a collective is."""

    GIVEN = "GIVEN"
    """The collective gives."""
    RECEIVED = "RECEIVED"
    """The collective receives."""


class GiftNotice(StrEnum):
    """What ended or paused a recurring gift without anybody's wish."""

    ARCHIVED = "ARCHIVED"
    """One of the two sides was archived."""
    HOST_LEFT = "HOST_LEFT"
    """The payee or the payer left the host that held its money."""
    HOST_SUSPENDED = "HOST_SUSPENDED"
    """The host of one of the two sides was suspended."""
    USER_SUSPENDED = "USER_SUSPENDED"
    """One of the two sides is a person who was suspended."""


class GoalKind(StrEnum):
    """Kind of amount that a goal counts."""

    BALANCE = "BALANCE"
    """Present balance in the currency of the goal."""
    RAISED = "RAISED"
    """All gifts and added funds so far, before fees and less refunds."""


class ActKind(StrEnum):
    """Kind of object that an act of the audit log changed."""

    COLLECTIVE = "COLLECTIVE"
    """A community, nonprofit or business: its profile, slug, host, fee or state."""
    EVENT = "EVENT"
    """An event: its profile, times or state."""
    USER = "USER"
    """A person's profile or account."""
    MEMBER = "MEMBER"
    """A role that somebody holds; roles that orders earn are in the history of the orders."""
    INVITATION = "INVITATION"
    """An invitation of a person to a role."""
    EMAIL_INVITATION = "EMAIL_INVITATION"
    """An invitation of an email address to a role."""
    HOST_APPLICATION = "HOST_APPLICATION"
    """An application to a host, or to be one."""
    PAYMENT_METHOD = "PAYMENT_METHOD"
    """A payment method of a host."""
    PAYOUT_METHOD = "PAYOUT_METHOD"
    """A payout method."""
    OFFER = "OFFER"
    """An offer of a business."""
    TIER = "TIER"
    """A tier of a collective or event."""
    RECURRING_GIFT = "RECURRING_GIFT"
    """A recurring gift: its terms or state; its charges are in the history of the orders."""
    GOAL = "GOAL"
    """A goal of a collective."""
    PLATFORM_POLICY = "PLATFORM_POLICY"
    """The platform's terms."""
    APPROVAL_POLICY = "APPROVAL_POLICY"
    """The amount above which two people approve."""
    EXCHANGE_RATE = "EXCHANGE_RATE"
    """An exchange rate that the platform set."""
    ISSUANCE_CAP = "ISSUANCE_CAP"
    """The cap of what a nonprofit issues."""
    CLEARING_LIMIT = "CLEARING_LIMIT"
    """The limit of what a host allows another to owe it."""
    SUSPENSION = "SUSPENSION"
    """The suspension of a person."""
    MERGE_CONSENT = "MERGE_CONSENT"
    """A consent to merging two people."""
    MUTED_TOPIC = "MUTED_TOPIC"
    """A topic of mails that a person muted."""
    SESSION = "SESSION"
    """A session: signing in, confirming it, and its end."""
    ACCESS_TOKEN = "ACCESS_TOKEN"
    """An access token."""
    CREDENTIAL = "CREDENTIAL"
    """A person's email address or password."""
    EMAIL_CHANGE = "EMAIL_CHANGE"
    """A change of a person's email address: asked for, confirmed, undone or over."""
    IDENTITY = "IDENTITY"
    """An identity at another provider, used to sign in."""
    AUTHENTICATOR_APP = "AUTHENTICATOR_APP"
    """An authenticator app as second factor."""
    RECOVERY_CODE = "RECOVERY_CODE"
    """Recovery codes: new ones, or the use of one."""
    PASSKEY = "PASSKEY"
    """A passkey of a person."""
    FACTOR_REQUIREMENT = "FACTOR_REQUIREMENT"
    """The requirement that a collective's ADMINs have a second factor."""
    DATA_EXPORT = "DATA_EXPORT"
    """A copy of a person's data that was asked for."""
