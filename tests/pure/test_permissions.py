"""The table of permissions: whole, and shown as it is."""

from pathlib import Path

from models import Collective
from models.enums import CollectiveType, MemberRole, Scope
from schema.build import schema
from services.access import permission_matrix
from services.access.actor import Actor
from services.access.permissions import RULES, Action, Subject, permits

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"
OPEN_TO_ALL = {"signUp", "verifyEmail", "signIn", "requestPasswordReset", "resetPassword"}
EACH_AS = {"approveOrders": "approveOrder"}
"""Mutations over many, each judged as by the mutation over one."""
READS = {Action.READ_HOURS, Action.READ_LIABILITY}
"""What only some may read, as a whole."""


def mutation_fields() -> set[str]:
    root = schema()._schema.mutation_type
    assert root is not None
    return set(root.fields)


def covered() -> set[str]:
    return {action.partition(" of ")[0] for action in Action if action not in READS}


def test_the_committed_page_shows_the_rules() -> None:
    assert PAGE.read_text() == permission_matrix.rendered(), (
        "write it again: python -m services.permission_matrix > docs/permissions.md"
    )


def test_every_mutation_has_an_action_or_is_open_to_all() -> None:
    unruled = {EACH_AS.get(name, name) for name in mutation_fields() - OPEN_TO_ALL} - covered()
    assert unruled == set()
    assert mutation_fields() >= OPEN_TO_ALL


def test_every_action_belongs_to_a_mutation() -> None:
    assert covered() - mutation_fields() - {Action.SET_HOST_FEE.value} == set()


def test_every_action_has_a_rule_with_words_and_a_scope_that_is_not_reading() -> None:
    assert set(RULES) == set(Action)
    for action, (scope, rules) in RULES.items():
        assert rules, action
        assert all(rule.__doc__ for rule in rules), action
        assert (scope is Scope.READ) == (action in READS | {Action.SIGN_OUT})


def test_anonymous_may_do_nothing_and_nobody_without_the_scope() -> None:
    for action, (scope, _) in RULES.items():
        for who, (actor, subject) in permission_matrix.VIEWERS.items():
            allowed = permits(actor, action, subject)
            assert not (allowed and who == "anonymous"), action
            for token_scope in Scope:
                limited = Actor(
                    user=actor.user,
                    roles=actor.roles,
                    platform_id=actor.platform_id,
                    scopes=frozenset({token_scope}),
                )
                assert permits(limited, action, subject) == (allowed and token_scope is scope)


def test_an_admin_of_the_parent_is_an_admin_of_its_event_and_not_the_other_way_round() -> None:
    user = Collective(slug="ada", type=CollectiveType.USER, name="Ada", currency="USD")
    parent = Collective(slug="club", type=CollectiveType.COMMUNITY, name="Club", currency="USD")
    event = Collective(
        slug="ball", type=CollectiveType.EVENT, name="Ball", currency="USD", parent_id=parent.id
    )
    of_parent = Actor(user=user, roles={parent.id: frozenset({MemberRole.ADMIN})})
    of_event = Actor(user=user, roles={event.id: frozenset({MemberRole.ADMIN})})
    change = Action.UPDATE_COLLECTIVE
    assert permits(of_parent, change, Subject(collective=event))
    assert permits(of_event, change, Subject(collective=event))
    assert not permits(of_event, change, Subject(collective=parent))
