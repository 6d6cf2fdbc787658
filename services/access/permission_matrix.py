"""The page docs/permissions.md, computed from the rules: who may do what, and which scope a token needs.

`python -m services.access.permission_matrix` prints it.
"""

from models import Collective
from models.enums import CollectiveType, MemberRole
from services.access.actor import Actor
from services.access.permissions import RULES, Action, Rule, Subject, permits

_INTRODUCTION = """\
# Who may do what

Made by `python -m services.access.permission_matrix` from the table in
`services/access/permissions.py`; a test compares the two. A mutation that is missing here is open to everybody: `signUp`, `verifyEmail`, `signIn`,
`requestPasswordReset` and `resetPassword`. To each item of `approveOrders` applies what applies to
`approveOrder`; `setHostFee` is `hostFeeBps` of `updateCollective`.

Nobody approves an expense that they made, or that pays themselves or a collective they are ADMIN of:
SELF_APPROVAL. What a user may not see is NOT_FOUND to them, whatever stands here. Without sign-in:
UNAUTHENTICATED.

`payer` is who gives, `payee` who gets, `host` who holds the money of the collective or payer; `collective`
is what the action is about: of an order, the side that it was made for (the payee of an expense, else the
payer). An ADMIN of a collective is an ADMIN of its events. A user acts for itself as an ADMIN does.
"""
_RULES_HEADING = """\
## The rules in words

Any of them lets a user through. An access token needs the scope besides; a session has every scope.
"""


def _row(slug: str, kind: CollectiveType) -> Collective:
    return Collective(slug=slug, type=kind, name=slug, currency="USD")


_USER = _row("user", CollectiveType.USER)
_PAYER = _row("payer", CollectiveType.COMMUNITY)
_PAYEE = _row("payee", CollectiveType.COMMUNITY)
_PAYER_HOST = _row("payer-host", CollectiveType.NONPROFIT)
_PAYEE_HOST = _row("payee-host", CollectiveType.NONPROFIT)
_PLATFORM = _row("platform", CollectiveType.NONPROFIT)


def _subject(own: Collective = _PAYER, *, created_by_actor: bool = False) -> Subject:
    return Subject(
        collective=own,
        payer=own,
        payee=_PAYEE,
        host=_PAYER_HOST,
        payer_host=_PAYER_HOST,
        payee_host=_PAYEE_HOST,
        created_by_actor=created_by_actor,
    )


def _with(role: MemberRole, collective: Collective) -> Actor:
    return Actor(user=_USER, roles={collective.id: frozenset({role})}, platform_id=_PLATFORM.id)


VIEWERS: dict[str, tuple[Actor, Subject]] = {
    "anonymous": (Actor(), _subject()),
    "any signed-in user": (Actor(user=_USER, platform_id=_PLATFORM.id), _subject()),
    **{
        f"{role} of the collective or payer": (_with(role, _PAYER), _subject())
        for role in (
            MemberRole.FOLLOWER,
            MemberRole.BACKER,
            MemberRole.MEMBER,
            MemberRole.ACCOUNTANT,
            MemberRole.ADMIN,
        )
    },
    "ADMIN of the payee": (_with(MemberRole.ADMIN, _PAYEE), _subject()),
    "ADMIN of the payer's host": (_with(MemberRole.ADMIN, _PAYER_HOST), _subject()),
    "ADMIN of the payee's host": (_with(MemberRole.ADMIN, _PAYEE_HOST), _subject()),
    "creator": (Actor(user=_USER, platform_id=_PLATFORM.id), _subject(created_by_actor=True)),
    "the user itself": (Actor(user=_USER, platform_id=_PLATFORM.id), _subject(_USER)),
    "platform ADMIN": (_with(MemberRole.ADMIN, _PLATFORM), _subject()),
    "platform ACCOUNTANT": (_with(MemberRole.ACCOUNTANT, _PLATFORM), _subject()),
}


def rendered() -> str:
    """Return the page."""
    marks = [
        [f"`{action}`", RULES[action][0], *(_mark(action, *viewer) for viewer in VIEWERS.values())]
        for action in Action
    ]
    words = [
        [f"`{action}`", scope, "; ".join(_words(rule) for rule in rules)]
        for action, (scope, rules) in RULES.items()
    ]
    matrix = _table(["action", "scope", *VIEWERS], marks, center=slice(2, None))
    rules = _table(["action", "scope", "for"], words)
    return f"{_INTRODUCTION}\n{matrix}\n{_RULES_HEADING}\n{rules}"


def _mark(action: Action, actor: Actor, subject: Subject) -> str:
    return "yes" if permits(actor, action, subject) else ""


def _words(rule: Rule) -> str:
    return (rule.__doc__ or "").strip().removesuffix(".")


def _table(head: list[str], rows: list[list[str]], *, center: slice | None = None) -> str:
    rules = ["---"] * len(head)
    if center is not None:
        rules[center] = [":-:"] * len(rules[center])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, rules, *rows])


if __name__ == "__main__":
    print(rendered(), end="")
