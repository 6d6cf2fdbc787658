"""Two sessions of the tables' owner in one database, where the second waits for the first."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.models.guard_world import GuardWorld, fill

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


class Race:
    """The world of `first`, committed by `commit_world` so that `second` sees it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[psycopg.Connection[Any]] = []

    def __enter__(self) -> Self:
        self._connections = [psycopg.connect(self._url) for _ in range(3)]
        self.first, self.second = (GuardWorld(connection) for connection in self._connections[:2])
        self._connections[2].autocommit = True
        fill(self.first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    def commit_world(self) -> None:
        """Commit what the first session wrote; both go on from there."""
        self.first.connection.commit()
        self.second.ids = dict(self.first.ids)

    def outcome(
        self,
        attempt: Callable[[GuardWorld], object],
        *,
        seconds: float = 10,
        hold_seconds: float = 0,
        before_commit: Callable[[], object] = lambda: None,
    ) -> str | None:
        """Run an attempt of the second session, commit the first once that waits, and return what refuses it.

        The first is committed `hold_seconds` after that, and after `before_commit`. An attempt that does not
        wait fails the test.
        """
        refused_by: list[str | None] = []

        def run() -> None:
            try:
                attempt(self.second)
            except psycopg.Error as error:
                refused_by.append(error.diag.constraint_name)
            else:
                refused_by.append(None)

        thread = threading.Thread(target=run)
        thread.start()
        self._await_lock(seconds, thread)
        time.sleep(hold_seconds)
        before_commit()
        self.first.connection.commit()
        thread.join(seconds)
        (result,) = refused_by
        return result

    def _await_lock(self, seconds: float, thread: threading.Thread) -> None:
        deadline = time.monotonic() + seconds
        pid = self.second.connection.info.backend_pid
        while True:
            row = self._connections[2].execute(WAITING.encode(), [pid]).fetchone()
            if row and row[0]:
                return
            assert thread.is_alive(), "the second session did not wait for the first"
            assert time.monotonic() < deadline, "the second session does not answer"
            time.sleep(0.01)
