"""Hosts and IP addresses: how they are read, and which of them are on the public internet."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
Host = IPAddress | str
"""An address, or a name in lower case without a final dot."""

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# IANA, IPv4 Special-Purpose Address Registry; multicast (RFC 5771); the former class E (RFC 1112). Azure's metadata
# service stands at an address that looks public.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")  # RFC 4291, 2.4: loopback, local, mapped and multicast ones lie outside

# IANA, IPv6 Special-Purpose Address Registry, what of it lies in 2000::/3: protocol assignments with Teredo,
# documentation, 6to4
_NOT_PUBLIC_V6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


def read_host(text: str) -> Host:
    """A URL's host, without brackets.

    Numbers are addresses in every way that a resolver reads them: ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are
    ``127.0.0.1`` (POSIX, ``inet_addr``). Raises ``ValueError`` for what is neither an address nor a name.
    """
    host = text.lower().removesuffix(".")
    if "%" in host:  # a scope, or an escape
        raise ValueError(f"'{text}' is neither a host name nor an address")
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not _NAME.fullmatch(host):
        raise ValueError(f"'{text}' is neither a host name nor an address")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _read_numbers(host)
    return host


def _read_numbers(host: str) -> IPv4Address:
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError as error:
        raise ValueError(f"'{host}' is no address") from error


def faces(address: IPAddress) -> Sequence[IPAddress]:
    """The address, and the IPv4 address that stands in it and is where packets end (mapped, NAT64)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return (address, address.ipv4_mapped)
        if address in _NAT64:
            return (address, IPv4Address(address.packed[-4:]))
    return (address,)


def is_public(address: IPAddress) -> bool:
    """Whether it belongs to somebody on the public internet.

    Not so loopback, private, link-local, shared (RFC 6598), multicast, documentation, reserved and metadata addresses.
    """
    end = faces(address)[-1]
    if isinstance(end, IPv4Address):
        return not is_within(end, _NOT_PUBLIC_V4)
    return end in _GLOBAL_UNICAST_V6 and not is_within(end, _NOT_PUBLIC_V6)


def is_within(address: IPAddress, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def read_network(text: str) -> IPv4Network | IPv6Network:
    """``10.0.0.0/8``, ``::1`` or ``[::1]``. Raises ``ValueError``."""
    return ip_network(text.removeprefix("[").removesuffix("]"))
