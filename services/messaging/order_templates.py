"""Mails about members, orders and hours: subject and text by template."""

from collections.abc import Mapping

_ORDER = """
Amount: {amount}
To: {to}
Type: {type}
Description: {description}
"""

_GIFT = f"""{_ORDER}Tip to the platform: {{tip}}
"""

_HOURS = """
Currents: {amount}
Date: {day}
Nonprofit: {nonprofit}
Description: {description}
"""

ORDER_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "organization_created": (
        "New {type}: {name}",
        """Hello,

{by} has created {name} ({type}) on Commonweal.

Slug: {slug}
""",
    ),
    "invitation": (
        "{by} has invited you to {collective}",
        """Hello {name},

{by} has invited you to join {collective} as: {role}.

Sign in with this email address to accept or decline.
""",
    ),
    "issuer_decision": (
        "{nonprofit} was {decision} as an issuer of currents",
        """Hello,

{nonprofit} was {decision} as an issuer of currents for volunteer hours.

Reason: {reason}
""",
    ),
    "donation_expected": (
        "A donation of {amount} to {to} is on its way",
        f"""Hello,

somebody has promised a donation to {{to}}. Please approve it once the money has arrived.
{_GIFT}""",
    ),
    "guest_gift": (
        "Thank you for donating {amount} to {to}",
        f"""Hello,

somebody donated to {{to}} with your email address. If it was you, thank you! Please keep this email as your
receipt, sign in and confirm the donation to be named as its giver. If it was not you, deny it there.
{_GIFT}""",
    ),
    "payment_disputed": (
        "The bank of a giver disputes a donation of {amount} to {to}",
        f"""Hello,

the bank of a giver wants the money of a donation to {{to}} back. Answer at your payment provider before its
deadline. Until it is decided, the amount and the provider's fee are set aside.
{_ORDER}""",
    ),
    "refund_failed_late": (
        "The refund of a donation to {to} has failed",
        f"""Hello,

your payment provider confirmed the refund of a donation to {{to}}, and now tells that it failed: the money is
yours again, while the ledger shows it as given back. Refund the giver in another way, or add the funds to
{{to}} again.
{_ORDER}""",
    ),
    "stray_refund_failed": (
        "A payment for {to} could not be given back",
        f"""Hello,

your payment provider collected a donation to {{to}} that had ended here, and does not give it back. Refund
the giver at your payment provider, or in another way: the ledger shows neither.
{_ORDER}""",
    ),
    "provider_away": (
        "The payment provider of {host} does not answer",
        """Hello,

the payment provider of {host} does not answer. Payments and refunds wait for it, and nothing is lost. This
mail comes once; a second tells you when the provider answers again.
""",
    ),
    "provider_back": (
        "The payment provider of {host} answers again",
        """Hello,

the payment provider of {host} answers again. What waited for it goes on by itself.
""",
    ),
    "donation_confirmation": (
        "Thank you for donating {amount} to {to}",
        f"""Hello,

thank you! Your donation to {{to}} is complete. Please keep this email as your receipt.
{_GIFT}""",
    ),
    "money_received": (
        "{to} has received {amount}",
        f"""Hello,

good news: {{to}} has received {{amount}}.
{_ORDER}""",
    ),
    "contribution_claimed": (
        "Please confirm: {amount} for {to}",
        f"""Hello,

a host has added {{amount}} for {{to}} and says that it came from you. Please confirm or deny it. Until you
confirm, nobody but that host sees your name with it.
{_ORDER}""",
    ),
    "contribution_answered": (
        "{amount} for {to}: {status} by the giver",
        f"""Hello,

the giver in whose name you added {{amount}} for {{to}} has answered: {{status}}.

Reason: {{reason}}
{_ORDER}""",
    ),
    "expense_submitted": (
        "Expense of {amount} submitted by {to}",
        f"""Hello,

an expense is waiting for your approval.
{_ORDER}""",
    ),
    "expense_approved": (
        "An expense of {amount} was approved",
        f"""Hello,

an expense was approved. Its host will pay it next.
{_ORDER}""",
    ),
    "order_closed": (
        "{type} of {amount}: {status}",
        f"""Hello,

this order ({{type}}) is closed: {{status}}.
{_ORDER}
Reason: {{reason}}
""",
    ),
    "hours_requested": (
        "{name} has requested {amount}",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and asks you to approve the hours.
{_HOURS}""",
    ),
    "hours_for_coordinator": (
        "{name} has named you as coordinator",
        f"""Hello,

{{name}} has volunteered for {{nonprofit}} and named you as the coordinator. An admin of {{nonprofit}} can
approve the hours. If you are not an admin, please ask one.
{_HOURS}""",
    ),
    "hours_approved": (
        "{nonprofit} has approved {amount}",
        f"""Hello {{name}},

thank you! {{nonprofit}} has approved your hours. The currents are in your balance.
{_HOURS}""",
    ),
    "nonprofit_nominated": (
        "A volunteer would like to log hours for you",
        """Hello,

a member of Commonweal ({name}) has volunteered for your organization and would like to log the hours.
To approve them, sign up and create your nonprofit here:

{public_url}

If you were not expecting this email, please ignore it.
""",
    ),
    "nomination": (
        "{name} has nominated a nonprofit: {nonprofit}",
        """Hello,

{name} would like to log hours for a nonprofit that is not on Commonweal yet.

Nonprofit: {nonprofit}
Email: {email}
Description: {description}
""",
    ),
    "cash_out_requested": (
        "{to} has requested a cash-out of {amount}",
        f"""Hello,

a cash-out is waiting for your approval.
{_ORDER}""",
    ),
    "cash_out_approved": (
        "Your cash-out of {amount} was approved",
        f"""Hello,

your cash-out was approved. It will be paid next.
{_ORDER}""",
    ),
    "order_refunded": (
        "{type} of {amount}: refunded",
        f"""Hello,

an order ({{type}}) was refunded, in full or in part. Its history shows how much.
{_ORDER}""",
    ),
}
