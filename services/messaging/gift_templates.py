"""Mails about recurring gifts: subject and text by template."""

from collections.abc import Mapping

_GIFT = """
Amount: {amount}
From: {payer}
To: {to}
"""

GIFT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "gift_transfer_due": (
        "Please transfer {amount} to {to}",
        """Hello,

your next recurring gift to {to} is due. Please transfer the amount with this reference.

Amount: {amount}
To: {to}
Reference: {reference}
Date: {day}
""",
    ),
    "gift_refused": (
        "Your recurring gift of {amount} to {to} could not be paid",
        f"""Hello,

your recurring gift to {{to}} could not be paid. We will try again on the day below. If you choose another way
of paying, we will try at once.
{_GIFT}
Next attempt: {{day}}

{{note}}
""",
    ),
    "gift_card_refused": (
        "Your recurring gift of {amount} to {to} could not be charged",
        f"""Hello,

your card was refused for your recurring gift to {{to}}. We will try again on the day below. With this link
you pay now, with this or another card, which is then charged from now on.

{{pay_link}}
{_GIFT}
Next attempt: {{day}}
""",
    ),
    "gift_step_needed": (
        "Your bank asks you to confirm your recurring gift of {amount} to {to}",
        f"""Hello,

your bank wants you to confirm your recurring gift to {{to}}. With this link you confirm it, or pay with
another card, which is then charged from now on. Otherwise we will ask your bank again on the day below.

{{pay_link}}
{_GIFT}
Next attempt: {{day}}
""",
    ),
    "gift_delayed": (
        "Your recurring gift of {amount} to {to} is late",
        f"""Hello,

your recurring gift to {{to}} has not been paid yet. The reason is on our side, and we will keep trying.
There is nothing that you need to do.
{_GIFT}""",
    ),
    "gift_skipped": (
        "Your recurring gift of {amount} to {to} was left out once",
        f"""Hello,

your recurring gift to {{to}} was due on the day below. We could not charge it within two weeks, so that
this gift was left out. Nothing was charged for it.
{_GIFT}
Date: {{day}}
""",
    ),
    "gift_paused": (
        "The recurring gift of {amount} to {to} is paused",
        f"""Hello,

this recurring gift is paused. Nothing is charged until it is resumed.
{_GIFT}
Resumes on: {{day}}
Reason: {{reason}}

{{note}}
""",
    ),
    "gift_resumed": (
        "The recurring gift of {amount} to {to} goes on",
        f"""Hello,

this recurring gift goes on. The next charge is on the day below.
{_GIFT}
Date: {{day}}
""",
    ),
    "gift_ended": (
        "The recurring gift of {amount} to {to} has ended",
        f"""Hello,

this recurring gift has ended. Nothing more is charged for it.
{_GIFT}
Reason: {{reason}}

{{note}}
""",
    ),
}
BALANCE_TOO_SMALL = "The balance is smaller than the amount."
AMOUNT_TOO_SMALL = "The fees are larger than the amount."
LIMIT_REACHED = "A limit is reached."
REFUSED = "The payment was refused."
REFUSED_TOO_OFTEN = "The payment was refused for two weeks."
NOT_RESUMED = (
    "The gift could not go on as it was. Its giver may resume it, perhaps with another way of paying."
)
UNPAID = "The last three transfers did not arrive."
ARCHIVED = "One of the two sides was archived."
HOST_LEFT = "One of the two sides has left its host."
HOST_SUSPENDED = "The host takes no new money."
USER_SUSPENDED = "One of the two sides cannot act now."
NOT_BEGUN = "The first payment did not come."
CARD_NOT_KEPT = "What the first payment was made with cannot be charged again."
GIFT_NOTES = (
    NOT_BEGUN,
    CARD_NOT_KEPT,
    BALANCE_TOO_SMALL,
    AMOUNT_TOO_SMALL,
    LIMIT_REACHED,
    REFUSED,
    REFUSED_TOO_OFTEN,
    NOT_RESUMED,
    UNPAID,
    ARCHIVED,
    HOST_LEFT,
    HOST_SUSPENDED,
    USER_SUSPENDED,
)
