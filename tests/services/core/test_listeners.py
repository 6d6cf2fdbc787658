"""The sockets of the server: one for each address of its host, all on one port."""

import socket
from dataclasses import replace
from typing import Any

import pytest

from services.core import listeners
from services.core.errors import ConfigurationError
from services.core.settings import Settings


def infos(*addresses: tuple[socket.AddressFamily, str]) -> Any:
    """Return what the resolver would say of a name with these addresses."""
    return lambda _host, port, **_: [
        (
            family,
            socket.SOCK_STREAM,
            6,
            "",
            (address, port) if family == socket.AF_INET else (address, port, 0, 0),
        )
        for family, address in addresses
    ]


def ports(settings: Settings) -> list[tuple[str, bool]]:
    """Bind, close, and return each address, and whether its port is that of the first."""
    bound = listeners.bind(settings)
    names = [each.getsockname() for each in bound]
    for each in bound:
        each.close()
    return [(name[0], name[1] == names[0][1]) for name in names]


def test_each_address_of_a_name_is_bound_to_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    two = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"))
    monkeypatch.setattr(socket, "getaddrinfo", infos(*two))
    assert ports(Settings(host="two.example", port=0)) == [("127.0.0.1", True), ("127.0.0.2", True)]


def test_an_address_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", infos((socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1"))
    )
    assert ports(Settings(host="two.example", port=0)) == [("127.0.0.1", True)]


def test_a_host_without_an_address_here_or_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for settings in (
            Settings(host="192.0.2.1", port=0),
            replace(Settings(), port=taken.getsockname()[1]),
            Settings(host="no.such.host.invalid", port=0),
            Settings(host="a..b", port=0),
        ):
            with pytest.raises(ConfigurationError, match="cannot be listened on"):
                listeners.bind(settings)
