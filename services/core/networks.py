"""Network addresses: the networks of a setting, and the address to limit."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from services.core.errors import ConfigurationError

Network = IPv4Network | IPv6Network
MAX_REMEMBERED = 10_000


@lru_cache(maxsize=16)
def parse_networks(text: str, *, setting: str) -> tuple[Network, ...]:
    """Parse a comma-separated list of networks and addresses.

    Raises:
        ConfigurationError: an entry is neither; the message names the setting.
    """
    networks = []
    for entry in text.split(","):
        if not (name := entry.strip()):
            continue
        try:
            networks.append(ip_network(name))
        except ValueError:
            raise ConfigurationError(
                f"{setting}: {name!r} is not a network such as 10.0.0.0/8 or fd00::/8"
            ) from None
    return tuple(networks)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with an optional zone; an IPv4 address mapped into IPv6 is returned as IPv4."""
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


@lru_cache(maxsize=MAX_REMEMBERED)
def normalize_address(address: str) -> str:
    """Return the address to limit: for IPv6 the /64 network, which one customer owns."""
    ip = parse_address(address)
    if ip is None:
        return address[:100]
    if isinstance(ip, IPv6Address):
        return str(IPv6Address(int(ip) >> 64 << 64))
    return str(ip)
