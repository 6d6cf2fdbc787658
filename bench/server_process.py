"""A server process, kept-alive connections to it, and its memory and processor time."""

import asyncio
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from bench.postgres_cluster import BenchCluster

_START_SECONDS = 120
_ANSWER_SECONDS = 30
_IDLE_SECONDS = 2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class RunningServer:
    """A running server."""

    host: str
    port: int
    pid: int

    @property
    def resident_mib(self) -> float:
        """Resident memory of the process, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(match[1]) / 1024 if match else 0.0


_OURS = (sys.executable, "-m", "schema", "serve")


@contextmanager
def run_server(
    cluster: BenchCluster, name: str, command: Sequence[str] = _OURS, environ: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Run a server on a database of the cluster, on a free port, and stop it at the end.

    The server is `commonweal serve`, or a command that prints its address in the same way.
    """
    settings = cluster.settings(name)
    environment = {
        **os.environ,
        "COMMONWEAL_PORT": "0",
        "COMMONWEAL_DATA_DIR": str(cluster.folder / "server"),
        "COMMONWEAL_DATABASE_URL": settings.database_url,
        "COMMONWEAL_OWNER_DATABASE_URL": settings.owner_database_url,
        # Points are still counted, but they never run out.
        "COMMONWEAL_RATE_CAPACITY": "1000000000",
        "COMMONWEAL_RATE_RESTORE_PER_SECOND": "1000000000",
        **(environ or {}),
    }
    with (
        (cluster.folder / "server.log").open("ab") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
    ):
        try:
            host, port = _address(process)
            yield RunningServer(host, port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    assert process.stdout is not None
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if not select.select([process.stdout], [], [], 1)[0]:
            continue
        match = re.search(rb"http://([\d.]+):(\d+)/graphql", process.stdout.readline())
        if match:
            return match[1].decode(), int(match[2])
    raise SystemExit(f"The server did not start; its exit code is {process.poll()}")


class Connection:
    """One kept-alive connection, kept lean so that the client does not limit what is measured."""

    def __init__(self, server: RunningServer, token: str | None = None) -> None:
        self._served = server
        self._head = f"POST /graphql HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: application/json\r\n"
        self._token = token

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._connect()
        return self

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._served.host, self._served.port, limit=2**20
        )
        self._used_at = time.monotonic()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._writer.close()

    async def query(
        self, query: str, variables: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> bytes:
        """Send an operation, with a token of its own or the connection's, and return the body of the answer.

        Reconnects after a pause, since the server closes connections that are idle for some seconds.
        """
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self._writer.close()
            await self._connect()
        body = orjson.dumps({"query": query, "variables": variables})
        token = token or self._token
        signed = f"Authorization: Bearer {token}\r\n" if token else ""
        self._writer.write(f"{self._head}{signed}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(_ANSWER_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if b" 200 " not in head or length is None:
                raise SystemExit(f"The server answered {head!r}")
            answer = await self._reader.readexactly(int(length[1]))
        self._used_at = time.monotonic()
        return answer


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    return sum(_cpu_ticks(Path(f"/proc/{pid}/stat"))) / _TICKS


def postgres_cpu_seconds(cluster: BenchCluster) -> dict[int, float]:
    """Return the processor time of each running process of the cluster's PostgreSQL."""
    postmaster = int((cluster.folder / "postgresql" / "postmaster.pid").read_text().splitlines()[0])
    results: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(_fields(path)[1]) == postmaster:
                results[int(path.parent.name)] = sum(_cpu_ticks(path)) / _TICKS
        except OSError:
            continue  # the process has ended meanwhile
    return results


def cpu_seconds_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Add up the processor time between two readings, for processes present in both."""
    return sum(seconds - before[pid] for pid, seconds in after.items() if pid in before)


def _cpu_ticks(path: Path) -> tuple[int, int]:
    fields = _fields(path)
    return int(fields[11]), int(fields[12])


def _fields(path: Path) -> list[str]:
    """Return the fields after the program's name: state, parent and so on."""
    return path.read_text().rpartition(")")[2].split()
