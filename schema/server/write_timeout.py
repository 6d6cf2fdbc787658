"""Who takes nothing for long is let go of: what waits for them is bounded."""

import asyncio


class Patient(asyncio.Protocol):
    """A part of a protocol: a clock runs while its client takes nothing."""

    slow_seconds = 10
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _slow: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Start the clock."""
        super().pause_writing()
        self._slow = self.loop.call_later(self.slow_seconds, self._let_go)

    def resume_writing(self) -> None:
        """Stop the clock."""
        super().resume_writing()
        self._stop_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _let_go(self) -> None:
        """Hang up."""
        self.transport.abort()
