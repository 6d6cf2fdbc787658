"""Why a mail was not sent, and whether another attempt can help."""

from dataclasses import dataclass
from email.errors import MessageError

import aiosmtplib

from services.messaging.rendering import to_one_line

MAX_ERROR_LENGTH = 200
PERMANENT_CODES = range(500, 600)


@dataclass(frozen=True)
class Failure:
    """A description for the operator, and whether the mail is to be tried no more."""

    text: str
    is_permanent: bool


def describe(error: Exception, *, secret: str) -> Failure:
    """Describe the error of an attempt, without the token that a mail server may quote."""
    return Failure(_describe_error(error, secret=secret), is_permanent=_is_permanent(error))


def _is_permanent(error: Exception) -> bool:
    """True if the recipient's server refused the mail for good, or if no mail can be built for the address.

    Refusals of our own sign-in or sender are the operator's to mend, and are retried.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code in PERMANENT_CODES for refused in error.recipients)
    if isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError):
        return error.code in PERMANENT_CODES
    return isinstance(error, MessageError | ValueError | IndexError)


def _describe_error(error: Exception, *, secret: str) -> str:
    """Describe an error for the operator, without the token that a mail server may quote."""
    text = ""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        text = str(error.code)
    elif isinstance(error, aiosmtplib.SMTPException | OSError | KeyError):
        text = str(error)
    if secret:
        text = text.replace(secret, "…")
    return to_one_line(f"{type(error).__name__}: {text}".rstrip(": "), max_length=MAX_ERROR_LENGTH)
