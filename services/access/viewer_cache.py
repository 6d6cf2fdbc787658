"""Viewers that this process has seen lately: an operation checks with what it reads that nothing has changed.

A cached viewer costs no round trip and is never trusted. A query reads, in the snapshot of its answer, the
number that the database raises with each change of token, roles and factors; a mutation, with its first
facts, the fingerprint of all that a viewer is made of. What another process revoked a moment ago is found
there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from models import Collective, Token
from services.access import act_origin
from services.access.actor import TOKEN_PARAMETER, Actor, hash_token, select_fingerprint
from services.round_trips import effects
from services.round_trips.operation_session import operation_of
from services.round_trips.pipelines import compile_statement

MAX_VIEWERS = 2_000
"""Viewers of one process; beyond this the least recently used is dropped."""
KEEP_SECONDS = 60
"""A viewer is loaded anew after this time, which notes now and then that the session is in use."""

_NAMED_FINGERPRINT = compile_statement(
    select_fingerprint().add_columns(
        act_origin.naming(col(Collective.id), token_id=col(Token.id), token_kind=col(Token.kind))
    )
)
_VIEWERS: OrderedDict[bytes, tuple[Actor, float]] = OrderedDict()


class StaleViewer(Exception):
    """A cached viewer is no longer who it was: load it again, and answer again."""


def find_viewer(token: str) -> Actor | None:
    """Find the viewer of a bearer token, whom the statement has to check."""
    token_hash = hash_token(token)
    cached = _VIEWERS.get(token_hash)
    if cached is None or cached[1] < time.monotonic():
        return None
    _VIEWERS.move_to_end(token_hash)
    return cached[0]


def keep(viewer: Actor) -> None:
    """Keep a viewer that was just loaded."""
    if viewer.is_touch_due:
        return  # the next operation finds the session in use
    _VIEWERS[viewer.token_hash] = viewer, time.monotonic() + KEEP_SECONDS
    _VIEWERS.move_to_end(viewer.token_hash)
    if len(_VIEWERS) > MAX_VIEWERS:
        _VIEWERS.popitem(last=False)


async def check_with_next(session: AsyncSession, viewer: Actor, *, seen: Callable[[], None]) -> None:
    """Check a mutation's viewer in the round trip of what it reads first, and name them for the audit log.

    Calls `seen` once the viewer is known to be the same.

    Raises:
        StaleViewer: when the statement is sent, and the viewer has changed.
    """

    def require_same(rows: Sequence[Any]) -> None:
        if [row[0] for row in rows] != [viewer.fingerprint]:
            raise StaleViewer
        seen()

    origin = operation_of(session).act_origin
    assert origin is not None  # every mutation has one
    values = {TOKEN_PARAMETER: viewer.token_hash, **origin.parameters}
    await effects.write(
        session, _NAMED_FINGERPRINT, values, check=require_same, is_barrier=True, outranks_errors=True
    )


def copy_roles(viewer: Actor) -> Actor:
    """Return the viewer with roles of their own, and no collective left out: a mutation changes them."""
    return replace(viewer, roles=dict(viewer.roles), public_ids=frozenset())


def forget(token: str) -> None:
    """Forget the viewer of a bearer token, who has changed."""
    _VIEWERS.pop(hash_token(token), None)
