"""Details of bank accounts: an IBAN and a BIC are checked before money is sent to them."""

from collections.abc import Mapping

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException

from services.core.errors import Invalid

_BIC_NAMES = {"bic", "swift"}


def check_bank_details(details: Mapping[str, str], *, field: str = "details") -> dict[str, str]:
    """Return the details with the IBAN and BIC that they name in their standard form, without spaces.

    Raises:
        Invalid: one of them is none: its length, its check digits or its country are wrong.
    """
    return {name: _check_detail(name, value, field) for name, value in details.items()}


def _check_detail(name: str, value: str, field: str) -> str:
    try:
        if name.casefold() == "iban":
            return str(IBAN(value))
        if name.casefold() in _BIC_NAMES:
            return str(BIC(value))
    except SchwiftyException:
        raise Invalid(
            f"Enter a valid {name.upper()}: a character may be missing or wrong.", field=field
        ) from None
    return value
