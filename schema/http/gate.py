"""What stands before every route: the client behind trusted proxies, the hosts served, common headers."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Scope, Send

from schema.http import raw_request
from schema.http.raw_request import RawHeaders
from schema.http.request import MAX_HEADER_BYTES, MAX_URL_BYTES
from services.core import networks
from services.core.settings import Settings

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Served under any host: probes name the server as they like, and the answers tell nothing."""
MAX_HOPS = 20
"""Longer lists of forwarding addresses are not followed to their end."""


class Gate:
    """The checks of one application."""

    def __init__(self, settings: Settings) -> None:
        """Read the settings of proxies and hosts.

        Raises:
            ConfigurationError: a trusted proxy is no network.
        """
        self._proxies = networks.parse_networks(
            settings.trusted_proxies, setting="COMMONWEAL_TRUSTED_PROXIES"
        )
        listed = [entry.strip().lower() for entry in settings.allowed_hosts.split(",")]
        public = (urlsplit(settings.public_url).hostname or "").lower()
        self._hosts = frozenset({*listed, public, settings.host.lower()} - {""})
        self.response_headers: RawHeaders = [(b"x-content-type-options", b"nosniff")]
        if settings.public_url.lower().startswith("https:") and settings.hsts_seconds > 0:
            age = b"max-age=%d" % settings.hsts_seconds
            self.response_headers.append((b"strict-transport-security", age))

    def is_proxy(self, address: str) -> bool:
        """Return True if the address is a trusted proxy's."""
        ip = networks.parse_address(address)
        return ip is not None and any(ip in network for network in self._proxies)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the client's address: the last one in X-Forwarded-For that is no trusted proxy's.

        Only trusted proxies are believed: each appends the address it was called from, and what stands before
        the first stranger is that stranger's invention.
        """
        address = peer
        for entry in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
            if not self.is_proxy(address):
                break
            if (ip := networks.parse_address(_without_port(entry.strip()))) is None:
                break
            address = str(ip)
        return address

    def serves_host(self, host: str) -> bool:
        """Return True if a request with this Host is served.

        A stranger can make a browser send us a name of theirs, but neither an IP address nor a name
        without a dot: those always pass. A request without Host is no browser's.
        """
        name = _host_name(host)
        return "." not in name or name in self._hosts or "*" in self._hosts or _is_ip(name)

    def admit(self, scope: Scope) -> Response | None:
        """Set the client and scheme of a request or websocket; return the response if it is refused."""
        headers: RawHeaders = scope["headers"]
        peer = scope["client"][0] if scope.get("client") else ""
        if self.is_proxy(peer):
            address = self.client_address(peer, _join(headers, b"x-forwarded-for"))
            scope["client"] = (address, 0)
            scheme = _join(headers, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
            if scheme in {"http", "https"}:
                is_socket = scope["type"] == "websocket"
                scope["scheme"] = scheme.replace("http", "ws") if is_socket else scheme
        size = raw_request.count_header_bytes(headers)
        url_bytes = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
        if scope["path"] != "/graphql" and (size > MAX_HEADER_BYTES or url_bytes > MAX_URL_BYTES):
            status = 414 if url_bytes > MAX_URL_BYTES else 431
            return _refusal(status, "The URL or the headers are too long")
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) > 1:
            return _refusal(400, "Send one Host")
        if hosts and scope["path"] not in HEALTH_PATHS and not self.serves_host(hosts[0]):
            return _refusal(421, "This host is not served here; see COMMONWEAL_ALLOWED_HOSTS")
        return None

    def with_headers(self, send: Send) -> Send:
        """Return a sender that adds the common headers to responses that lack them."""

        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("response.start"):
                present = list(message.get("headers", ()))
                names = {name for name, _ in present}
                message["headers"] = [h for h in self.response_headers if h[0] not in names] + present
            await send(message)

        return send_with_headers


def _refusal(status: int, message: str) -> Response:
    body = {"errors": [{"message": message, "extensions": {"code": "BAD_REQUEST"}}]}
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", "Connection": "close"})


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port and the dot that ends a full name."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or not port.isdecimal():
        name = host.strip().lower()
    return name.removesuffix(".")


def _without_port(entry: str) -> str:
    """Return the address of an entry; some proxies add the port."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_ip(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _join(headers: RawHeaders, name: bytes) -> str:
    """Return the values of a header that may be given in several lines, in order."""
    return ",".join(value.decode("latin-1") for key, value in headers if key == name)
