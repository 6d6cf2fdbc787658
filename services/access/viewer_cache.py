"""Viewers that this process has seen lately: a query checks in its own statement that nothing has changed.

A cached viewer costs no statement and is never trusted: the fingerprint of token, roles and factors is read
again in the snapshot of the answer. What another process revoked a moment ago is found there.
"""

import time
from collections import OrderedDict

from services.access.actor import Actor, hash_token

MAX_VIEWERS = 2_000
"""Viewers of one process; beyond this the least recently used is dropped."""
KEEP_SECONDS = 60
"""A viewer is loaded anew after this time, which notes now and then that the session is in use."""

_VIEWERS: OrderedDict[bytes, tuple[Actor, float]] = OrderedDict()


class StaleViewer(Exception):
    """A cached viewer is no longer who it was: load it again, and answer again."""


def find_viewer(token: str) -> Actor | None:
    """Find the viewer of a bearer token, whose fingerprint the statement has to check."""
    token_hash = hash_token(token)
    cached = _VIEWERS.get(token_hash)
    if cached is None or cached[1] < time.monotonic():
        return None
    _VIEWERS.move_to_end(token_hash)
    return cached[0]


def keep(viewer: Actor) -> None:
    """Keep a viewer that was just loaded for a query."""
    if viewer.is_touch_due:
        return  # the next query finds the session in use
    _VIEWERS[viewer.token_hash] = viewer, time.monotonic() + KEEP_SECONDS
    _VIEWERS.move_to_end(viewer.token_hash)
    if len(_VIEWERS) > MAX_VIEWERS:
        _VIEWERS.popitem(last=False)


def forget(token: str) -> None:
    """Forget the viewer of a bearer token, who has changed."""
    _VIEWERS.pop(hash_token(token), None)
