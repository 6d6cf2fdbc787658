"""Mails about settlements between hosts."""

from collections.abc import Mapping

_SETTLEMENT = """
Amount: {amount}
From: {payer}
To: {to}
Bank reference: {reference}
Description: {description}
"""

# Subject and text by template. A line whose values are all empty is left out.
SETTLEMENT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "settlement_expected": (
        "{payer} has paid {amount} to {to}",
        f"""Hello,

{{payer}} says that it has paid what it owes {{to}}. Please approve the settlement once the money has arrived.
{_SETTLEMENT}""",
    ),
    "settlement_due": (
        "Please settle {amount} with {to}",
        f"""Hello,

these fees and tips, which {{payer}} keeps for {{to}}, are due. Please transfer them with this reference.

Fees: {{fees}}
Tips: {{tips}}
{_SETTLEMENT}""",
    ),
    "settlement_received": (
        "{to} has received your {amount}",
        f"""Hello,

{{to}} has confirmed that the settlement has arrived.
{_SETTLEMENT}""",
    ),
}
