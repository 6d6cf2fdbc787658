"""Which of several servers leads: a process that has seen a later timeline goes back to none that is older.

A primary that was cut off and comes back takes connections as before, while another was promoted: its
timeline is the older one. A promotion begins a new timeline; a restore to a point in time does as well.
"""

import random
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
_INFO = "timeline"
_SYNC_WAIT = "SyncRepWaitForLSN"
"""PostgreSQL's function that warns when a commit stops waiting for its standby, in any language."""


class Timeline(NamedTuple):
    """The history that a server writes; a later number replaces an earlier one of the same system."""

    system: str
    number: int


_latest: dict[str, int] = {}
_outdated_hosts: set[tuple[str, str]] = set()
_unconfirmed: weakref.WeakSet[Any] = weakref.WeakSet()


def inspect(connection: Any, record: Any) -> None:
    """Note the timeline of a new connection, and its warnings; a listener of the engine's event `connect`.

    Raises:
        OperationalError: of psycopg; the server is on an older timeline than one that this process has seen.
    """
    driver = connection.driver_connection
    driver.add_notice_handler(lambda notice: _note(driver, notice))
    timeline = _read_timeline(connection)
    if timeline is None:
        return
    record.info[_INFO] = timeline
    place = (str(driver.info.host), str(driver.info.port))
    if is_outdated(timeline):
        _outdated_hosts.add(place)
        raise psycopg.OperationalError(f"the server at {place[0]} was replaced by one on a later timeline")
    _outdated_hosts.discard(place)
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


def is_outdated(timeline: Timeline | None) -> bool:
    """Return True if this process has seen a later timeline."""
    return timeline is not None and timeline.number < _latest.get(timeline.system, 0)


def timeline_of(record: Any) -> Timeline | None:
    """Return the timeline of a pooled connection, noted when it was opened."""
    timeline: Timeline | None = record.info.get(_INFO)
    return timeline


def refuse_outdated(_: Any, record: Any, __: Any) -> None:
    """Replace the connections of an older timeline; a listener of the engine's event `checkout`.

    Raises:
        InvalidatePoolError: of SQLAlchemy, which opens another connection.
    """
    if is_outdated(timeline_of(record)):
        raise InvalidatePoolError


def order_hosts(_: Any, __: Any, ___: Any, parameters: dict[str, Any]) -> None:
    """Try several hosts in any order, those that were replaced last; a listener of `do_connect`.

    Always the first that takes writes would be the one that came back.
    """
    hosts = str(parameters.get("host", "")).split(",")
    ports = str(parameters.get("port", "")).split(",")
    if not hosts[1:]:
        return
    if len(ports) == 1:
        ports *= len(hosts)
    places = list(zip(hosts, ports, strict=True))
    random.shuffle(places)
    places.sort(key=lambda place: place in _outdated_hosts)
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
