"""Disconnect clients that stop reading, so that their buffers stay bounded."""

import asyncio


class WriteTimeout(asyncio.Protocol):
    """A protocol mixin that runs a timer while its client reads nothing."""

    slow_seconds = 10
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _write_timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start the timer."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.slow_seconds, self._abort_slow_client)

    def resume_writing(self) -> None:
        """Stop the timer."""
        super().resume_writing()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _abort_slow_client(self) -> None:
        """Abort the connection."""
        self.transport.abort()
