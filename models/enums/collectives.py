"""Collectives, members and what they are asked."""

from enum import StrEnum


class CollectiveType(StrEnum):
    """Kind of entity that a collective is."""

    USER = "USER"
    """A person, claimed or known by email address alone."""
    COMMUNITY = "COMMUNITY"
    """A group without a legal entity of its own; a host holds its money."""
    NONPROFIT = "NONPROFIT"
    """A nonprofit organization that may host others."""
    BUSINESS = "BUSINESS"
    """A commercial organization."""
    EVENT = "EVENT"
    """An event of its parent; it holds members, not money."""


class MemberRole(StrEnum):
    """Role of a member in a collective. A member with several roles has a row for each."""

    HOST = "HOST"
    """Legal holder of the collective's bank account."""
    ADMIN = "ADMIN"
    """Acts on behalf of the collective."""
    ACCOUNTANT = "ACCOUNTANT"
    """Reads the collective's private financial data."""
    MEMBER = "MEMBER"
    """Contributes to the collective."""
    BACKER = "BACKER"
    """Gave money to the collective."""
    VOLUNTEER = "VOLUNTEER"
    """Has approved hours with the collective."""
    ATTENDEE = "ATTENDEE"
    """Registered for the event."""
    WAITING = "WAITING"
    """On the waiting list of a full event."""
    FOLLOWER = "FOLLOWER"
    """Follows the collective's news."""


class NamedBy(StrEnum):
    """How somebody else gave a person a role that the person has not agreed to."""

    REFERENCE = "REFERENCE"
    """By the person's public name, or by letting them in."""
    ADDRESS = "ADDRESS"
    """By their email address: whoever knows it does not learn whose it is."""


class RequestStatus(StrEnum):
    """Status of an invitation or a host application."""

    PENDING = "PENDING"
    """Waiting for an answer."""
    ACCEPTED = "ACCEPTED"
    """Accepted by the recipient."""
    DECLINED = "DECLINED"
    """Declined by the recipient."""
    WITHDRAWN = "WITHDRAWN"
    """Withdrawn by the sender, or ended because a side was archived."""
    EXPIRED = "EXPIRED"
    """Not answered within 30 days."""


class CreditPolicy(StrEnum):
    """Hours that an attendee of an event is credited."""

    FULL_EVENT = "FULL_EVENT"
    """The whole event, credited at check-in."""
    ACTUAL = "ACTUAL"
    """From check-in to check-out, at most the whole event, credited at check-out."""
