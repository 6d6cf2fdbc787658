"""What each mail about offers and redemptions says; see `services.mail_templates`, which has them all."""

from collections.abc import Mapping

_PURCHASE = """
Item: {item}
Business: {business}
Price: {price}
Currents: {currents}
"""

REDEMPTION_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "offer_posted": (
        "{business} offers {item}",
        """Hello,

there is a new offer.

Business: {business}
Item: {item}
Currents pay: {share} %
""",
    ),
    "redemption_requested": (
        "{by} gives {currents} for {item}",
        f"""Hello,

{{by}} has bought something at {{business}} and asks you to take currents for part of the price.
Please look at the receipt, then approve or reject it.
{_PURCHASE}""",
    ),
    "redemption_approved": (
        "{business} has taken your {currents}",
        f"""Hello,

good news: {{business}} has approved your purchase. The platform pays you next.
{_PURCHASE}To be paid: {{payout}}

Reason of a change: {{reason}}
""",
    ),
    "redemption_paid": (
        "You have received {payout}",
        f"""Hello,

thank you for volunteering: {{payout}} for {{currents}} are in your balance now.
{_PURCHASE}""",
    ),
}
