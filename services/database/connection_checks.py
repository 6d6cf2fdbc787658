"""What every new connection must be: the application's role, in UTC, with time limits, on a leader.

A pooler drops what a connection asks for at its start, and nothing else would notice: the owner's rights, no
time limits, dates of another zone.
"""

from typing import Any

from services.core.errors import ConfigurationError

_CHECK = """
    SELECT current_user, current_setting('TimeZone'), current_setting('statement_timeout'),
        current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
        coalesce(has_table_privilege(to_regclass('public.posting'), 'INSERT'), false)
"""
_ZONES = {"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu"}
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


class WrongConnection(ConfigurationError):
    """A connection has not the role, the time zone or the time limits of the application."""


def require_right(connection: Any, _: object) -> None:
    """Check a new connection of the driver; a listener of the engine's event `connect`.

    Raises:
        WrongConnection: it is not what it must be; the message names what is wrong.
    """
    cursor = connection.cursor()
    try:
        cursor.execute(_CHECK)
        user, zone, *limits, may_write = cursor.fetchone()
    finally:
        cursor.close()
    connection.commit()
    wrong = [f"no {name}" for name, limit in zip(LIMITS, limits, strict=True) if limit == "0"]
    if zone not in _ZONES:
        wrong.insert(0, f"time zone {zone} instead of UTC")
    if may_write:
        wrong.insert(0, f"the role {user}, which may write the ledger's tables, instead of commonweal_app")
    if wrong:
        raise WrongConnection(
            f"Connections have {', '.join(wrong)}. Behind a pooler set COMMONWEAL_POOLER=transaction and run"
            " `commonweal migrate`, which sets them on the login's role (docs/operations.md)"
        )
