"""The one family of errors that reach a user. The docstring is the default message."""

from collections.abc import Sequence
from enum import StrEnum


class ErrorCode(StrEnum):
    """What a client can act on."""

    INVALID_INPUT = "INVALID_INPUT"
    """A value is not acceptable; `path` names the input field."""
    NOT_FOUND = "NOT_FOUND"
    """There is no such thing, or the viewer may not see it."""
    CONFLICT = "CONFLICT"
    """It exists already, or something else stands in the way."""
    INVALID_STATE = "INVALID_STATE"
    """The thing is not in a state that allows this."""
    SELF_APPROVAL = "SELF_APPROVAL"
    """Nobody approves what they created for themselves."""
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    """The balance available is less than the amount."""
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    """A limit of the offer, the policy or the period is reached."""
    AMOUNT_TOO_SMALL = "AMOUNT_TOO_SMALL"
    """The fees are larger than the amount."""
    FX_RATE_UNAVAILABLE = "FX_RATE_UNAVAILABLE"
    """There is no exchange rate, or none that is fresh enough to move money."""
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    """The idempotency key was used for another payload."""
    RATE_LIMITED = "RATE_LIMITED"
    """Too many tries; later again."""
    COST_LIMIT_EXCEEDED = "COST_LIMIT_EXCEEDED"
    """One operation asks for more than one may."""
    TIMEOUT = "TIMEOUT"
    """It took too long, and nothing was kept."""
    UNAUTHENTICATED = "UNAUTHENTICATED"
    """Sign in first, or the token is not valid."""
    FORBIDDEN = "FORBIDDEN"
    """The viewer has no right to do this."""


class ConfigurationError(Exception):
    """A setting is wrong; the server does not start."""


class Problem(Exception):
    """Something went wrong."""

    code: ErrorCode = ErrorCode.INVALID_INPUT

    def __init__(self, message: str | None = None, *, path: Sequence[str] = ()) -> None:
        """Keep the message, or the class's docstring, and the input field it is about."""
        self.message = message or (self.__doc__ or "").strip()
        self.path = tuple(path)
        super().__init__(self.message)


class Invalid(Problem):
    """The value is not acceptable."""


class NotFound(Problem):
    """There is no such thing."""

    code = ErrorCode.NOT_FOUND


class Conflict(Problem):
    """It exists already."""

    code = ErrorCode.CONFLICT


class InvalidState(Problem):
    """It is not in a state that allows this."""

    code = ErrorCode.INVALID_STATE


class SelfApproval(Problem):
    """Nobody approves what they created for themselves."""

    code = ErrorCode.SELF_APPROVAL


class InsufficientFunds(Problem):
    """The balance available is less than the amount."""

    code = ErrorCode.INSUFFICIENT_FUNDS


class LimitExceeded(Problem):
    """A limit is reached."""

    code = ErrorCode.LIMIT_EXCEEDED


class AmountTooSmall(Problem):
    """The fees are larger than the amount."""

    code = ErrorCode.AMOUNT_TOO_SMALL


class FxRateUnavailable(Problem):
    """There is no exchange rate that is fresh enough."""

    code = ErrorCode.FX_RATE_UNAVAILABLE


class IdempotencyConflict(Problem):
    """This idempotency key was used for another payload."""

    code = ErrorCode.IDEMPOTENCY_CONFLICT


class RateLimited(Problem):
    """Too many tries; wait a while."""

    code = ErrorCode.RATE_LIMITED


class CostLimitExceeded(Problem):
    """This asks for too much at once."""

    code = ErrorCode.COST_LIMIT_EXCEEDED


class TimedOut(Problem):
    """It took too long, and nothing was kept."""

    code = ErrorCode.TIMEOUT


class AccessDenied(Problem):
    """Not allowed: a top-level error, never one of a payload."""

    code = ErrorCode.FORBIDDEN


class Unauthenticated(AccessDenied):
    """Sign in first."""

    code = ErrorCode.UNAUTHENTICATED


class Forbidden(AccessDenied):
    """You have no right to do this."""

    code = ErrorCode.FORBIDDEN
