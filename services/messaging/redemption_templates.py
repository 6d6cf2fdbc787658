"""Mails about offers and redemptions: subject and text by template."""

from collections.abc import Mapping

_PURCHASE = """
Item: {item}
Business: {business}
Price: {price}
Currents: {currents}
"""

REDEMPTION_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "offer_posted": (
        "New offer from {business}: {item}",
        """Hello,

a business has posted a new offer.

Business: {business}
Item: {item}
Share payable in currents: {share} %
""",
    ),
    "redemption_requested": (
        "{by} wants to pay {currents} for {item}",
        f"""Hello,

{{by}} has made a purchase at {{business}} and would like to pay part of the price in currents.
Please check the receipt, then approve or reject the redemption.
{_PURCHASE}""",
    ),
    "redemption_approved": (
        "{business} has accepted your {currents}",
        f"""Hello,

good news: {{business}} has approved your purchase. The platform will pay you next.
{_PURCHASE}You will receive: {{payout}}

Reason for the change: {{reason}}
""",
    ),
    "redemption_paid": (
        "You have received {payout}",
        f"""Hello,

thank you for volunteering! {{payout}} for {{currents}} have been added to your balance.
{_PURCHASE}""",
    ),
}
