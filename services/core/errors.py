"""Errors that reach a user, one family. A class's docstring is its default message."""

from collections.abc import Sequence
from enum import StrEnum

CONFIRMED_MINUTES = 10
"""Minutes for which a session stays confirmed."""
WHOLE_INPUT: tuple[str, ...] = ()
"""The `field` of a problem that is about the input as a whole."""


class ErrorCode(StrEnum):
    """Error code that a client can act on."""

    INVALID_INPUT = "INVALID_INPUT"
    """A value is not acceptable; `path` names the input field."""
    NOT_FOUND = "NOT_FOUND"
    """The object does not exist, or you may not see it."""
    CONFLICT = "CONFLICT"
    """The object exists already, or conflicts with another one."""
    INVALID_STATE = "INVALID_STATE"
    """The object is in a state that does not allow the operation."""
    SELF_APPROVAL = "SELF_APPROVAL"
    """Users cannot approve what they created for themselves."""
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    """The available balance is less than the amount."""
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    """A limit of the offer, the policy or the period is reached."""
    AMOUNT_TOO_SMALL = "AMOUNT_TOO_SMALL"
    """The fees are larger than the amount."""
    FX_RATE_UNAVAILABLE = "FX_RATE_UNAVAILABLE"
    """No exchange rate exists, or none recent enough to move money."""
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    """The idempotency key was used with a different input."""
    RATE_LIMITED = "RATE_LIMITED"
    """Too many attempts; try again later."""
    COST_LIMIT_EXCEEDED = "COST_LIMIT_EXCEEDED"
    """The operation costs more than a single operation may."""
    TIMEOUT = "TIMEOUT"
    """The operation took too long; nothing was stored."""
    UNAVAILABLE = "UNAVAILABLE"
    """The service cannot do this now, or cannot tell whether it did; use the same idempotency key again."""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """Sign in first, or the token is not valid."""
    FORBIDDEN = "FORBIDDEN"
    """You do not have permission for this operation."""
    CONFIRMATION_REQUIRED = "CONFIRMATION_REQUIRED"
    """Confirm your session with `confirmSession` in one of the ways in `ways`, then try again."""
    SECOND_FACTOR_REQUIRED = "SECOND_FACTOR_REQUIRED"
    """The collective requires a second factor of its ADMINs; add one to your account."""


class ConfigurationError(Exception):
    """A setting is wrong; the server does not start."""


class Problem(Exception):
    """Something went wrong."""

    code: ErrorCode = ErrorCode.INVALID_INPUT

    def __init__(self, message: str | None = None, *, field: str | tuple[str, ...] | None = None) -> None:
        """Keep the message, or the class's docstring, and the field of the input that it is about.

        Separate the names of a nested field by dots (`items.0.amount`); use a tuple if a name may hold one.
        """
        self.message = message or (self.__doc__ or "").strip()
        self.path = tuple(field.split(".")) if isinstance(field, str) else field
        """The names that lead to the field within its input, or None if the problem is about no field."""
        super().__init__(self.message)


class Invalid(Problem):
    """The value is not acceptable."""


class NotFound(Problem):
    """The object does not exist."""

    code = ErrorCode.NOT_FOUND


class Conflict(Problem):
    """The object exists already."""

    code = ErrorCode.CONFLICT


class InvalidState(Problem):
    """The object is in a state that does not allow this."""

    code = ErrorCode.INVALID_STATE


class SelfApproval(Problem):
    """You cannot approve what you created for yourself; ask somebody else to."""

    code = ErrorCode.SELF_APPROVAL


class InsufficientFunds(Problem):
    """The available balance is less than the amount."""

    code = ErrorCode.INSUFFICIENT_FUNDS


class LimitExceeded(Problem):
    """A limit is reached."""

    code = ErrorCode.LIMIT_EXCEEDED


class AmountTooSmall(Problem):
    """The fees are larger than the amount."""

    code = ErrorCode.AMOUNT_TOO_SMALL


class FxRateUnavailable(Problem):
    """No recent exchange rate is available."""

    code = ErrorCode.FX_RATE_UNAVAILABLE


class IdempotencyConflict(Problem):
    """This idempotency key was used with a different input; choose a new one."""

    code = ErrorCode.IDEMPOTENCY_CONFLICT


class RateLimited(Problem):
    """Too many attempts; try again later."""

    code = ErrorCode.RATE_LIMITED


class Busy(RateLimited):
    """Too many people are signing in just now; try again in a few seconds."""

    def __init__(self, *, retry_after_seconds: int) -> None:
        """Keep the time to wait. Always a top-level error, with HTTP status 429."""
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class CostLimitExceeded(Problem):
    """The operation costs too much; ask for less at once."""

    code = ErrorCode.COST_LIMIT_EXCEEDED


class Unavailable(Problem):
    """The service is not available at present. Try again with the same idempotency key."""

    code = ErrorCode.UNAVAILABLE


class TimedOut(Problem):
    """The operation took too long; nothing was stored."""

    code = ErrorCode.TIMEOUT


class AccessDenied(Problem):
    """Not allowed. Always a top-level error, never an error of a payload."""

    code = ErrorCode.FORBIDDEN


class Unauthenticated(AccessDenied):
    """Sign in first."""

    code = ErrorCode.UNAUTHENTICATED


class ConfirmationRequired(AccessDenied):
    """Show again who you are."""

    code = ErrorCode.CONFIRMATION_REQUIRED

    def __init__(self, *, ways: Sequence[str]) -> None:
        """Keep the ways in which the user can confirm the session."""
        super().__init__(
            f"Show again who you are, as this session was not confirmed within the last "
            f"{CONFIRMED_MINUTES} minutes: by `confirmSession` ({', '.join(ways)}), or by signing in."
        )
        self.ways = list(ways)


class SecondFactorRequired(AccessDenied):
    """This collective requires a second factor of its ADMINs. Add one to your account first."""

    code = ErrorCode.SECOND_FACTOR_REQUIRED


class Forbidden(AccessDenied):
    """You do not have permission for this operation."""

    code = ErrorCode.FORBIDDEN
