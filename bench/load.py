"""Load from a client process: kept-alive connections that each send a request after every answer."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.request import Request, urlopen

import orjson

from bench.client import GRACE_SECONDS, LoadOrder, LoadResult
from bench.server_process import RunningServer

_CLIENT = (sys.executable, "-m", "bench.client")


def request_text(
    server: RunningServer, query: str, variables: Mapping[str, Any] | None = None, *, token: str | None = None
) -> str:
    """Return the text of a POST request."""
    body = orjson.dumps({"query": query, "variables": variables or {}}).decode()
    return (
        f"POST /graphql HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Type: application/json\r\n"
        + (f"Authorization: Bearer {token}\r\n" if token else "")
        + f"Accept: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


def ask(server: RunningServer, body: bytes, *, token: str | None = None) -> Any:
    """Send one request by the standard library; return the data.

    Raises:
        SystemExit: the answer has errors.
    """
    url = f"http://{server.host}:{server.port}/graphql"
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with urlopen(Request(url, body, headers), timeout=60) as response:
        answer = orjson.loads(response.read())
    if "errors" in answer:
        raise SystemExit(f"The server answers {answer['errors']}")
    return answer["data"]


def run_load(order: LoadOrder) -> LoadResult:
    """Run a load order in a client process.

    Raises:
        SystemExit: the client failed, or the server answered unexpectedly.
    """
    completed = subprocess.run(
        _CLIENT,
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=order.seconds + order.warm_seconds + 2 * GRACE_SECONDS,
        check=False,
    )
    if completed.returncode != 0:
        raise SystemExit(f"The load failed: {completed.stdout}{completed.stderr}")
    return LoadResult(**json.loads(completed.stdout))


def client_capacity(connections: int, seconds: float) -> float:
    """Measure the requests a second that the client sends to a server that does nothing."""
    command = [*_CLIENT, "--idle-server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            server = RunningServer("127.0.0.1", int(process.stdout.readline()), process.pid)
            text = request_text(server, "{ __typename }")
            return run_load(LoadOrder(server.host, server.port, text, connections, seconds, 0.2)).per_second
        finally:
            process.terminate()
