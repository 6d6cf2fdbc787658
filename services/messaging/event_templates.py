"""What each mail about events says; see `services.mail_templates`, which has them all."""

from collections.abc import Mapping

_EVENT = """
When: {when}
Where: {location}
"""

EVENT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "change_event_coordinator": (
        "You coordinate {event}",
        f"""Hello,

{{by}} has made you the coordinator of {{event}}. Those who register can write to you.
{_EVENT}""",
    ),
    "edit_event": (
        "{event} has changed",
        f"""Hello,

an event that you are registered for has changed. This is how it stands now.

Event: {{event}}
{_EVENT}
If you cannot come any more, please cancel your registration: somebody may wait for a place.
""",
    ),
    "event_cancelled": (
        "{event} is cancelled",
        """Hello,

we are sorry: this event does not take place.

Event: {event}
When: {when}
Reason: {reason}
""",
    ),
    "volunteer_registered": (
        "{name} has registered for {event}",
        """Hello,

{name} has registered for {event}.

When: {when}

{message}
""",
    ),
    "volunteer_confirmation": (
        "Your registration for {event}",
        f"""Hello {{name}},

thank you for registering for {{event}}.

{{note}}
{_EVENT}
If you cannot come, please cancel your registration.
""",
    ),
    "event_place_free": (
        "You have a place at {event}",
        f"""Hello,

good news: a place has become free, and you are registered for {{event}} now.
{_EVENT}
If you cannot come any more, please cancel your registration.
""",
    ),
    "invite_volunteer_event_existing": (
        "{by} has registered you for {event}",
        f"""Hello,

{{by}} has registered you for {{event}}.

{{note}}
{_EVENT}
{{message}}

If you cannot come, please sign in and cancel your registration.
""",
    ),
    "invite_volunteer_event_new": (
        "{by} invites you to {event}",
        f"""Hello,

{{by}} invites you to {{event}} and has put you on its list.

{{note}}
{_EVENT}
{{message}}

Your hours there are credited to this address. To see and use them, sign up with it here:

{{public_url}}

If this means nothing to you, just ignore this mail.
""",
    ),
    "coordinator_messaged": (
        "{by} writes about {event}",
        """Hello,

{by} has a message for all who are registered for {event}:

{message}
""",
    ),
    "volunteer_messaged": (
        "{by} asks about {event}",
        """Hello,

{by}, who is registered for {event}, has a message for you:

{message}
""",
    ),
}
