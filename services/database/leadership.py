"""Which of several servers leads: a process that has seen a later timeline goes back to none that is older.

A primary that was cut off and comes back takes connections as before, while another was promoted: its
timeline is the older one. A promotion begins a new timeline; a restore to a point in time does as well.
Until the process has met the new primary, it can only suspect the old one: of commits that nobody confirms,
and of locks that a commit which nobody confirms goes on holding.
"""

import random
import time
import weakref
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
from sqlalchemy.exc import InvalidatePoolError

RECYCLE_SECONDS = 60
"""Age at which a connection to one of several hosts is replaced: the new one may find another leader."""
_TIMELINE = """
    SELECT (SELECT system_identifier FROM pg_control_system())::text,
        ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
"""
_INFO = "origin"
_IS_ONE_OF_SEVERAL = "is_one_of_several"
_DEFAULT_PORT = "5432"
_SYNC_WAIT = "SyncRepWaitForLSN"
"""PostgreSQL's function that warns when a commit stops waiting for its standby, in any language."""


class Timeline(NamedTuple):
    """The history that a server writes; a later number replaces an earlier one of the same system."""

    system: str
    number: int


_Place = tuple[str, str]


class Origin(NamedTuple):
    """Where a pooled connection leads, and since when."""

    place: _Place | None
    """The host and port; None if no other is known."""
    timeline: Timeline | None
    """None from a server that does not tell, such as a hosted one."""
    opened_at: float
    """Time of `time.monotonic`."""


_latest: dict[str, int] = {}
_failed_at: dict[_Place, float] = {}
"""When each place last proved replaced or kept somebody waiting; those that failed last are tried last."""
_doubted_at: dict[_Place, float] = {}
"""When each place last left a commit unconfirmed, as a time of `time.monotonic`."""
_unconfirmed: weakref.WeakSet[Any] = weakref.WeakSet()


def inspect(connection: Any, record: Any) -> None:
    """Note the timeline of a new connection, and its warnings; a listener of the engine's event `connect`.

    Raises:
        OperationalError: of psycopg; the server is on an older timeline than one that this process has seen.
    """
    driver = connection.driver_connection
    driver.add_notice_handler(lambda notice: _note(driver, notice))
    timeline = _read_timeline(connection)
    place = (str(driver.info.host), str(driver.info.port))
    is_one_of_several = record.info.pop(_IS_ONE_OF_SEVERAL, False)
    record.info[_INFO] = Origin(place if is_one_of_several else None, timeline, time.monotonic())
    if timeline is None:
        return
    if _is_replaced(timeline):
        _failed_at[place] = time.monotonic()
        raise psycopg.OperationalError(f"the server at {place[0]} was replaced by one on a later timeline")
    _failed_at.pop(place, None)
    _latest[timeline.system] = timeline.number


def _read_timeline(connection: Any) -> Timeline | None:
    """Return the timeline; None from a server that does not tell, such as a hosted one."""
    cursor = connection.cursor()
    timeline = None
    try:
        with suppress(psycopg.Error):
            cursor.execute(_TIMELINE)
            timeline = Timeline(*cursor.fetchone())
    finally:
        cursor.close()
    connection.rollback()
    return timeline


def _is_replaced(timeline: Timeline | None) -> bool:
    return timeline is not None and timeline.number < _latest.get(timeline.system, 0)


def is_outdated(origin: Origin | None) -> bool:
    """Return True if this process has seen a later timeline, or doubts the server since it was opened."""
    if origin is None:
        return False
    return _is_replaced(origin.timeline) or (
        origin.place is not None and origin.opened_at < _doubted_at.get(origin.place, 0)
    )


def origin_of(record: Any) -> Origin | None:
    """Return where a pooled connection leads, noted when it was opened."""
    origin: Origin | None = record.info.get(_INFO)
    return origin


def doubt(origin: Origin | None) -> None:
    """Replace all connections to one of several servers, which left a commit unconfirmed.

    The others are asked first which of them leads.
    """
    if origin is not None and origin.place is not None:
        _doubted_at[origin.place] = _failed_at[origin.place] = time.monotonic()


def ask_others_first(origin: Origin | None) -> None:
    """Try other servers before this one, which has kept an operation waiting, when a connection is opened."""
    if origin is not None and origin.place is not None:
        _failed_at[origin.place] = time.monotonic()


def refuse_outdated(_: Any, record: Any, __: Any) -> None:
    """Replace the connections that are outdated; a listener of the engine's event `checkout`.

    Raises:
        InvalidatePoolError: of SQLAlchemy, which opens another connection.
    """
    if is_outdated(origin_of(record)):
        raise InvalidatePoolError


def order_hosts(_: Any, record: Any, __: Any, parameters: dict[str, Any]) -> None:
    """Try several hosts in any order, those that failed last; a listener of the engine's event `do_connect`.

    Always the first that takes writes would be the one that came back.
    """
    hosts = str(parameters.get("host", "")).split(",")
    ports = [port or _DEFAULT_PORT for port in str(parameters.get("port", "")).split(",")]
    if not hosts[1:]:
        return
    record.info[_IS_ONE_OF_SEVERAL] = True
    if len(ports) == 1:
        ports *= len(hosts)
    places = list(zip(hosts, ports, strict=True))
    random.shuffle(places)
    places.sort(key=lambda place: _failed_at.get(place, 0))
    parameters["host"] = ",".join(host for host, _ in places)
    parameters["port"] = ",".join(port for _, port in places)


def _note(driver: Any, notice: psycopg.errors.Diagnostic) -> None:
    if notice.source_function == _SYNC_WAIT:
        _unconfirmed.add(driver)


def take_unconfirmed(driver: Any) -> bool:
    """Return True once after a commit that stopped waiting for its standby: a failover may lose it."""
    is_unconfirmed = driver in _unconfirmed
    _unconfirmed.discard(driver)
    return is_unconfirmed
