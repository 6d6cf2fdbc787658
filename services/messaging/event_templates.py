"""Mails about events: subject and text by template."""

from collections.abc import Mapping

_EVENT = """
When: {when}
Where: {location}
"""

EVENT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "change_event_coordinator": (
        "You are now the coordinator of {event}",
        f"""Hello,

{{by}} has made you the coordinator of {{event}}. Attendees can send you messages.
{_EVENT}""",
    ),
    "edit_event": (
        "{event} has changed",
        f"""Hello,

an event that you are registered for has changed. Here are the current details:

Event: {{event}}
{_EVENT}
If you can no longer attend, please cancel your registration so that somebody else can have your place.
""",
    ),
    "event_cancelled": (
        "{event} has been cancelled",
        """Hello,

we are sorry to tell you that this event has been cancelled.

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
If you cannot attend, please cancel your registration.
""",
    ),
    "event_place_free": (
        "You have a place at {event}",
        f"""Hello,

good news: a place has become available, and you are now registered for {{event}}.
{_EVENT}
If you can no longer attend, please cancel your registration.
""",
    ),
    "invite_volunteer_event_existing": (
        "{by} has registered you for {event}",
        f"""Hello,

{{by}} has registered you for {{event}}.

{{note}}
{_EVENT}
{{message}}

If you would like to come, please sign in and register: until then, nobody sees that you are registered.
If you cannot attend, please cancel your registration.
""",
    ),
    "invite_volunteer_event_new": (
        "{by} has invited you to {event}",
        f"""Hello,

{{by}} has invited you to {{event}} and registered you for it.

{{note}}
{_EVENT}
{{message}}

Your hours at the event will be credited to this email address. To see and use them, sign up with it here:

{{public_url}}

If you were not expecting this email, please ignore it.
""",
    ),
    "coordinator_messaged": (
        "Message from {by} about {event}",
        """Hello,

{by} has a message for all attendees of {event}:

{message}
""",
    ),
    "volunteer_messaged": (
        "Message from {by} about {event}",
        """Hello,

{by}, who is registered for {event}, has a message for you:

{message}
""",
    ),
}
