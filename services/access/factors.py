"""The second factors that a user has, as conditions for any statement, and who needs one."""

from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, exists, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from models import Collective, FactorRequirement, Member, Passkey, TotpFactor
from models.enums import CollectiveType, MemberRole, Proof

_EVENT = aliased(Collective, name="event")


def has_totp(user_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """True in SQL if the user has an authenticator app that works."""
    return exists().where(col(TotpFactor.user_id) == user_id, col(TotpFactor.activated_at).is_not(None))


def has_passkey(user_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """True in SQL if the user has a passkey."""
    return exists().where(col(Passkey.user_id) == user_id)


def list_ways(*, totp: bool, passkey: bool) -> tuple[Proof, ...]:
    """Return the ways in which a user shows who they are: by a factor if they have one, else the password."""
    if not (totp or passkey):
        return (Proof.PASSWORD,)
    ways = ((totp, Proof.TOTP), (passkey, Proof.PASSKEY), (True, Proof.RECOVERY_CODE))
    return tuple(way for has_way, way in ways if has_way)


def needs_factor() -> ColumnElement[Any]:
    """True in SQL if the row of a member is that of an ADMIN who needs a second factor to act.

    An event follows the collective that runs it. The first condition is looked up once a statement, so that
    the rest costs nothing while nobody requires a factor.
    """
    is_any = select(col(FactorRequirement.collective_id)).correlate(None).exists()
    own = exists().where(col(FactorRequirement.collective_id) == Member.collective_id).correlate(Member)
    parents = (
        select(col(_EVENT.id))
        .join(FactorRequirement, col(FactorRequirement.collective_id) == col(_EVENT.parent_id))
        .where(col(_EVENT.id) == Member.collective_id, col(_EVENT.type) == CollectiveType.EVENT)
        .correlate(Member)
        .exists()
    )
    return and_(is_any, col(Member.role) == MemberRole.ADMIN, or_(own, parents))
