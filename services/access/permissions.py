"""Permissions: what an actor may do by the table of `permission_rules`, and how a refusal is told."""

from datetime import timedelta

from models import now
from models.enums import Scope
from services.access.actor import Actor
from services.access.permission_rules import CONFIRMED, RULES, SESSION_ONLY, Action, Subject
from services.core.errors import (
    CONFIRMED_MINUTES,
    ConfirmationRequired,
    Forbidden,
    SecondFactorRequired,
    Unauthenticated,
)

__all__ = [
    "Action",
    "Subject",
    "is_confirmed",
    "is_permitted",
    "require",
    "require_confirmed",
    "require_scope",
    "require_session",
    "require_signed_in",
]

CONFIRMED_FOR = timedelta(minutes=CONFIRMED_MINUTES)


def is_permitted(actor: Actor, action: Action, subject: Subject) -> bool:
    """True if the token has the action's scope and at least one rule allows the actor."""
    scope, rules = RULES[action]
    if actor.scopes is not None and action in SESSION_ONLY:
        return False
    if actor.scopes is not None and scope not in actor.scopes:
        return False
    return any(rule(actor, subject) for rule in rules)


def require(actor: Actor, action: Action, subject: Subject | None = None) -> None:
    """Require that the actor may perform the action.

    Raises:
        Unauthenticated: nobody is signed in.
        Forbidden: the token lacks the scope, no token may do it, or no rule allows the user.
        SecondFactorRequired: the user is an ADMIN without the second factor that the collective requires.
        ConfirmationRequired: the session was not confirmed lately.
    """
    scope, rules = RULES[action]
    require_signed_in(actor, scope=scope)
    if action in SESSION_ONLY:
        require_session(actor, action.value)
    about = subject or Subject()
    if not any(rule(actor, about) for rule in rules):
        if actor.dormant_ids and any(rule(actor.with_dormant_roles, about) for rule in rules):
            raise SecondFactorRequired
        allowed = "; ".join((rule.__doc__ or "").rstrip(".") for rule in rules)
        raise Forbidden(f"{action.value} is reserved for: {allowed}.")
    if action in CONFIRMED:
        require_confirmed(actor)


def is_confirmed(actor: Actor) -> bool:
    """True if the session was confirmed within the last 10 minutes, or an access token asks."""
    if actor.scopes is not None:
        return True
    return actor.confirmed_at is not None and actor.confirmed_at > now() - CONFIRMED_FOR


def require_confirmed(actor: Actor) -> None:
    """Require a session that was confirmed within the last 10 minutes; access tokens have scopes instead.

    Raises:
        ConfirmationRequired: it was not; the problem names the ways to confirm it.
    """
    if not is_confirmed(actor):
        raise ConfirmationRequired(ways=actor.ways)


def require_signed_in(actor: Actor, *, scope: Scope | None = None) -> None:
    """Require a signed-in user, and a scope if one is given.

    Raises:
        Unauthenticated: nobody is signed in.
        Forbidden: the access token lacks the scope.
    """
    if actor.user is None:
        raise Unauthenticated
    if scope is not None:
        require_scope(actor, scope)


def require_session(actor: Actor, act: str) -> None:
    """Require that a person in a session asks, not a program with an access token.

    Raises:
        Forbidden: an access token asks.
    """
    if actor.scopes is not None:
        raise Forbidden(f"{act} is reserved for people who are signed in; no access token may do it.")


def require_scope(actor: Actor, scope: Scope) -> None:
    """Require that an access token has the scope; sessions have every scope.

    Raises:
        Forbidden: the access token lacks the scope.
    """
    if actor.scopes is not None and scope not in actor.scopes:
        raise Forbidden(f"This access token lacks the scope {scope}.")
