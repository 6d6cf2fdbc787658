"""The process of `tests.oidc_provider`: a real provider behind a filter that spoils its answers."""

import io
import json
import sys
from collections.abc import Iterable
from time import sleep
from typing import Any
from urllib.parse import parse_qs

import oidc_provider_mock
import werkzeug.serving

StartResponse = Any
NAMES = {"/oauth2/token": "token", "/.well-known/openid-configuration": "discovery", "/jwks": "jwks"}


class _Spoiler:
    """Passes requests to the provider, remembers them, and spoils answers as it is told."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._spoilt: dict[str, Any] = {}
        self._seen: list[dict[str, Any]] = []
        self._answer: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if path == "/_spoil":
            self._spoilt = json.loads(body)
            return self._respond(start, {})
        if path in {"/_seen", "/_answer"}:
            return self._respond(start, self._seen if path == "/_seen" else self._answer)
        if path in {"/oauth2/token", "/oauth2/authorize"}:
            fields = parse_qs(body.decode() if path == "/oauth2/token" else environ["QUERY_STRING"])
            self._seen.append({"path": path, **{name: values[0] for name, values in fields.items()}})
        return self._pass_on(environ, start, body)

    def _pass_on(self, environ: dict[str, Any], start: StartResponse, body: bytes) -> Iterable[bytes]:
        name = NAMES.get(environ["PATH_INFO"])
        started: list[Any] = []
        environ["wsgi.input"] = io.BytesIO(body)
        answer = b"".join(self._app(environ, lambda *given: started.extend(given)))
        if name is None or not started[0].startswith("200"):
            start(*started[:2])
            return [answer]
        members = json.loads(answer)
        if name == "token":
            self._answer = members
        changes = self._spoilt.get(name, {})
        sleep(changes.pop("_seconds", 0))
        padding = changes.pop("_bytes", 0)
        return self._respond(start, members | changes, padding=padding)

    @staticmethod
    def _respond(start: StartResponse, value: object, *, padding: int = 0) -> Iterable[bytes]:
        content = json.dumps(value).encode() + b" " * padding
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
        return [content]


def main() -> None:
    """Serve a provider on a free port, which is printed."""
    app = _Spoiler(oidc_provider_mock.app())
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
