"""How hosts are read, and which addresses are public."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest

from llama_conversations_providers.tool_runtime.mcp.addresses import faces, is_public, read_host
from llama_conversations_providers.tool_runtime.mcp.network import resolve_name

LOOPBACK = IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.1", "0177.0.0.1", "127.0.0.1."],
)
def test_numbers_are_read_as_a_resolver_reads_them(text: str) -> None:
    assert read_host(text) == LOOPBACK


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Tools.Example.COM", "tools.example.com"),
        ("localhost.", "localhost"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("my_host-1", "my_host-1"),
        ("1.example", "1.example"),
        ("0x7f.example", "0x7f.example"),
    ],
)
def test_names_are_brought_into_one_form(text: str, name: str) -> None:
    assert read_host(text) == name


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.example", "a b", "a%2eb", "fe80::1%eth0", "::g", "999.1.1.1", "1.2.3.4.5", "a/b", "a@b", "ä"],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a host name nor an address|is no address"):
        read_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_special_addresses_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00:1450::1",
    ],
)
def test_other_addresses_are_public(text: str) -> None:
    assert is_public(ip_address(text))


def test_an_address_that_packets_are_translated_to_is_one_of_its_faces() -> None:
    mapped, translated = ip_address("::ffff:127.0.0.1"), ip_address("64:ff9b::7f00:1")
    assert list(faces(mapped)) == [mapped, LOOPBACK]
    assert list(faces(translated)) == [translated, LOOPBACK]
    assert list(faces(LOOPBACK)) == [LOOPBACK]


async def test_the_systems_resolver_knows_the_machine_itself() -> None:
    assert LOOPBACK in await resolve_name("localhost")
