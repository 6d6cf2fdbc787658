"""Load: kept-alive connections that ask again as soon as they are answered, from a process of their own."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from bench.client import GRACE_SECONDS, Found, Order
from bench.server_process import Served

_CLIENT = (sys.executable, "-m", "bench.client")


def request(
    served: Served, query: str, variables: Mapping[str, Any] | None = None, *, token: str | None = None
) -> str:
    """Return the bytes of a POST, as text."""
    body = orjson.dumps({"query": query, "variables": variables or {}}).decode()
    return (
        f"POST /graphql HTTP/1.1\r\nHost: {served.host}:{served.port}\r\nContent-Type: application/json\r\n"
        + (f"Authorization: Bearer {token}\r\n" if token else "")
        + f"Accept: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


def offer(order: Order) -> Found:
    """Run an order in a process of its own.

    Raises:
        SystemExit: the server did not answer as it should.
    """
    done = subprocess.run(
        _CLIENT,
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=order.seconds + order.warm_seconds + 2 * GRACE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"The load failed: {done.stdout}{done.stderr}")
    return Found(**json.loads(done.stdout))


def capacity(connections: int, seconds: float) -> float:
    """Return how many requests a second the client can make of a server that does nothing."""
    command = [*_CLIENT, "--idle-server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            served = Served("127.0.0.1", int(process.stdout.readline()), process.pid)
            text = request(served, "{ __typename }")
            return offer(Order(served.host, served.port, text, connections, seconds, 0.2)).per_second
        finally:
            process.terminate()
