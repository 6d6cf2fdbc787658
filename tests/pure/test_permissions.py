"""The permission rules are complete, and their documentation is current."""

from pathlib import Path

from models import Collective
from models.enums import CollectiveType, MemberRole, Scope
from schema.build import schema
from services.access import permission_matrix
from services.access.actor import Actor
from services.access.permission_rules import RULES, SESSION_ONLY
from services.access.permissions import Action, Subject, is_permitted

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
OPEN_TO_ALL = {
    "donateAsGuest",
    "signUp",
    "verifyEmail",
    "signIn",
    "requestPasswordReset",
    "resetPassword",
    "confirmEmailChange",
    "undoEmailChange",
    "beginProviderSignIn",
    "completeProviderSignIn",
    "linkProvedIdentity",
    "completeSignIn",
    "beginPasskeySignIn",
    "signInWithPasskey",
}
EACH_AS = {"approveOrders": "approveOrder"}
"""Bulk mutations, which are checked as the mutation of a single order."""
READS = {
    Action.READ_HOURS,
    Action.READ_ATTENDEES,
    Action.READ_LIABILITY,
    Action.READ_CLEARING,
    Action.READ_AUDIT_LOG,
    Action.READ_WHOLE_AUDIT_LOG,
    Action.READ_JOBS,
}
"""Actions that read restricted reports."""


def mutation_fields() -> set[str]:
    root = schema()._schema.mutation_type
    assert root is not None
    return set(root.fields)


def covered() -> set[str]:
    return {action.partition(" of ")[0] for action in Action if action not in READS | {Action.READ_CALENDAR}}


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == permission_matrix.render_markdown(), (
        "regenerate it: python -m services.access.permission_matrix > docs/permissions.md"
    )


def test_every_action_is_in_one_domain_of_the_page() -> None:
    listed = [action for actions in permission_matrix.DOMAINS.values() for action in actions]
    assert sorted(listed) == sorted(Action)


def test_every_mutation_has_an_action_or_is_open_to_all() -> None:
    unruled = {EACH_AS.get(name, name) for name in mutation_fields() - OPEN_TO_ALL} - covered()
    assert unruled == set()
    assert mutation_fields() >= OPEN_TO_ALL


def test_every_action_belongs_to_a_mutation() -> None:
    assert covered() - mutation_fields() - {Action.SET_HOST_FEE.value} == set()


def test_every_action_has_documented_rules_and_only_reads_have_the_read_scope() -> None:
    assert set(RULES) == set(Action)
    for action, (scope, rules) in RULES.items():
        assert rules, action
        assert all(rule.__doc__ for rule in rules), action
        assert (scope is Scope.CALENDAR) == (action is Action.READ_CALENDAR)
        assert (scope is Scope.READ) == (action in READS | {Action.SIGN_OUT})


def test_anonymous_viewers_and_tokens_without_the_scope_are_denied() -> None:
    for action, (scope, _) in RULES.items():
        for who, (actor, subject) in permission_matrix.VIEWERS.items():
            allowed = is_permitted(actor, action, subject)
            assert not (allowed and who == "anonymous"), action
            for token_scope in Scope:
                limited = Actor(
                    user=actor.user,
                    roles=actor.roles,
                    platform_id=actor.platform_id,
                    scopes=frozenset({token_scope}),
                )
                may_token = allowed and token_scope is scope and action not in SESSION_ONLY
                assert is_permitted(limited, action, subject) == may_token


def test_an_admin_of_the_parent_is_an_admin_of_its_event_but_not_vice_versa() -> None:
    user = Collective(slug="ada", type=CollectiveType.USER, name="Ada", currency="USD")
    parent = Collective(slug="club", type=CollectiveType.COMMUNITY, name="Club", currency="USD")
    event = Collective(
        slug="ball", type=CollectiveType.EVENT, name="Ball", currency="USD", parent_id=parent.id
    )
    of_parent = Actor(user=user, roles={parent.id: frozenset({MemberRole.ADMIN})})
    of_event = Actor(user=user, roles={event.id: frozenset({MemberRole.ADMIN})})
    change = Action.UPDATE_COLLECTIVE
    assert is_permitted(of_parent, change, Subject(collective=event))
    assert is_permitted(of_event, change, Subject(collective=event))
    assert not is_permitted(of_event, change, Subject(collective=parent))
