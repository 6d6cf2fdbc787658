"""An S3 server on this machine (moto's), which can be told to answer wrongly, late or not at all."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "receipts"
URL = f"s3://{BUCKET}/files"


class _Quiet(WSGIRequestHandler):
    """Handles requests without a line in anybody's log."""

    def log(self, *_: object) -> None:
        """Say nothing."""


class S3Server:
    """The server, and how it answers."""

    def __init__(self) -> None:
        """Answer as S3 does."""
        self.mode = "right"
        self.released = Event()
        """Lets requests go on that are kept waiting."""
        self.asked = Event()
        """A request waits."""
        self._moto: Any = DomainDispatcherApplication(create_backend_app)
        self.url = ""

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer a request."""
        match self.mode:
            case "silent":
                self.asked.set()
                self.released.wait(60)
            case "broken":
                start("500 Internal Server Error", [("Content-Length", "0")])
                return [b""]
            case "chatty":
                text = b"<html>Please sign in to this network</html>"
                start("200 OK", [("Content-Length", str(len(text))), ("Content-Type", "text/html")])
                return [text]
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer

    @property
    def client(self) -> Any:
        """Another client of the same store."""
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)

    def names(self) -> list[str]:
        """Return the names of all that is stored."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return sorted(each["Key"] for each in found)


@contextmanager
def run_s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Run the server with an empty bucket; the standard variables lead to it."""
    s3 = S3Server()
    server = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=_Quiet)
    s3.url = f"http://127.0.0.1:{server.server_port}"
    serving = Thread(target=server.serve_forever, daemon=True)
    serving.start()
    for name, value in {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3.client.create_bucket(Bucket=BUCKET)
    try:
        yield s3
    finally:
        s3.released.set()
        s3.mode = "right"
        s3.client.delete_objects(
            Bucket=BUCKET, Delete={"Objects": [{"Key": name} for name in s3.names()] or [{"Key": "none"}]}
        )
        s3.client.delete_bucket(Bucket=BUCKET)
        server.shutdown()
        serving.join()
        server.server_close()
