"""Mail templates about hosts: applications to them and to be one, suspension, leaving and moving."""

from collections.abc import Mapping

HOST_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "host_application": (
        "{collective} has applied to be hosted by {host}",
        """Hello,

{collective} has applied to be hosted by {host}. Please approve or decline the application.
""",
    ),
    "host_move": (
        "{collective} would like to move to {host}",
        """Hello,

{collective} would like to move to {host} with its balance. Please approve or decline the application.
""",
    ),
    "host_moved": (
        "{collective} has moved to {to}",
        """Hello,

{host} no longer holds money for {collective}. {host} owes {to} the balance, which has moved along.
""",
    ),
    "host_decision": (
        "{host} has {decision} the application of {collective}",
        """Hello,

{host} has {decision} the application of {collective}.

Reason: {reason}
""",
    ),
    "host_requested": (
        "{host} would like to be a host",
        """Hello,

{host} would like to hold its own money and that of others. Please approve or decline the application.

Slug: {slug}
""",
    ),
    "host_approval": (
        "{host} was {decision} as a host",
        """Hello,

{host} was {decision} as a host, which holds its own money and that of others.

Reason: {reason}
""",
    ),
    "host_suspended": (
        "{host} is suspended as a host",
        """Hello,

the platform has suspended {host} as a host. No new money can come into its book; what is there can be paid
out and refunded. To be a host again, apply to the platform.

Reason: {reason}
""",
    ),
    "host_left": (
        "{collective} has left {host}",
        """Hello,

{host} no longer holds money for {collective}.

Reason: {reason}
""",
    ),
}
