"""What the rules of run.yaml let through."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from llama_conversations_providers.tool_runtime.mcp.addresses import read_host
from llama_conversations_providers.tool_runtime.mcp.policy import AddressPolicy, Denied, Target, read_rule


def target(host: str, path: str = "/mcp", scheme: str = "https", port: int = 443) -> Target:
    return Target(scheme, read_host(host), port, path)


def is_named(rule: str, to: Target) -> bool:
    return AddressPolicy([rule], [], public=True).check_target(to)


@pytest.mark.parametrize(
    ("rule", "host", "matches"),
    [
        ("tools.example", "tools.example", True),
        ("Tools.Example.", "tools.example", True),
        ("tools.example", "a.tools.example", False),
        ("tools.example", "tools.example.evil", False),
        ("tools.example", "eviltools.example", False),
        ("*.tools.example", "a.tools.example", True),
        ("*.tools.example", "a.b.tools.example", True),
        ("*.tools.example", "tools.example", False),
        ("*.tools.example", "eviltools.example", False),
        ("*", "anything.example", True),
        ("*", "10.0.0.1", True),
        ("bücher.example", "xn--bcher-kva.example", True),
    ],
)
def test_a_host_is_matched_whole(rule: str, host: str, matches: bool) -> None:
    assert AddressPolicy([rule, "10.0.0.0/8"], [], public=True).check_target(target(host)) is matches


@pytest.mark.parametrize(
    ("rule", "to", "matches"),
    [
        ("https://a.example", target("a.example", "/any"), True),
        ("https://a.example/", target("a.example", "/any"), True),
        ("https://a.example:443", target("a.example"), True),
        ("https://a.example/mcp", target("a.example", "/mcp"), True),
        ("https://a.example/mcp", target("a.example", "/mcp/"), True),
        ("https://a.example/mcp/", target("a.example", "/mcp/x"), True),
        ("https://a.example/mcp", target("a.example", "/mcpx"), False),
        ("https://a.example/mcp", target("a.example", "/"), False),
        ("https://a.example/mcp", target("a.example", "/MCP"), False),
        ("https://a.example", target("b.example"), False),
        ("https://a.example", target("a.example", port=8443), False),
        ("http://a.example", target("a.example"), False),
        ("http://a.example:8000/x", target("a.example", "/x", "http", 8000), True),
        ("http://127.0.0.1:8000", target("127.0.0.1", "/x", "http", 8000), True),
        ("http://127.0.0.1:8000", target("0x7f.1", "/x", "http", 8000), True),
    ],
)
def test_a_url_matches_what_lies_below_it(rule: str, to: Target, matches: bool) -> None:
    assert AddressPolicy([rule, "127.0.0.0/8"], [], public=True).check_target(to) is matches


@pytest.mark.parametrize("path", ["/mcp/../admin", "/mcp/%2e%2e/admin", "/mcp//admin", "/%6dcp", "/mcp\\x", "/mcp/.."])
@pytest.mark.parametrize("deny", [[], ["https://a.example/admin"]], ids=["allowed", "denied"])
def test_a_path_that_can_be_read_in_several_ways_is_denied_where_paths_matter(path: str, deny: list[str]) -> None:
    policy = AddressPolicy([] if deny else ["https://a.example/mcp"], deny, public=True)
    with pytest.raises(Denied, match="its path can be read in several ways"):
        policy.check_target(target("a.example", path))
    assert not policy.check_target(target("b.example", path))


@pytest.mark.parametrize(
    ("rule", "address"),
    [
        ("10.0.0.0/8", "10.1.2.3"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("10.0.0.0/8", "64:ff9b::10.1.2.3"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fd00::/8", "fd00::1"),
    ],
)
def test_a_network_lets_its_addresses_in_and_no_others(rule: str, address: str) -> None:
    policy = AddressPolicy([rule], [], public=True)
    policy.check_address(ip_address(address), named=False)
    with pytest.raises(Denied, match="does not lead to the public internet"):
        policy.check_address(ip_address("192.168.0.1"), named=False)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"])
def test_a_denied_network_is_denied_even_to_a_name_that_is_allowed(address: str) -> None:
    policy = AddressPolicy(["*", "10.0.0.0/8"], ["10.1.0.0/16"], public=True)
    assert policy.check_target(target("tools.example"))
    with pytest.raises(Denied, match=r"run\.yaml denies it"):
        policy.check_address(ip_address(address), named=True)
    policy.check_address(ip_address("10.2.0.1"), named=True)


def test_a_name_that_is_allowed_may_lead_inside() -> None:
    policy = AddressPolicy(["tools.example"], [], public=False)
    assert policy.check_target(target("tools.example"))
    policy.check_address(ip_address("10.0.0.1"), named=True)


def test_without_rules_all_that_is_public_is_allowed() -> None:
    policy = AddressPolicy([], [], public=True)
    assert not policy.check_target(target("tools.example"))
    policy.check_address(ip_address("8.8.8.8"), named=False)
    with pytest.raises(Denied):
        policy.check_target(target("10.0.0.1"))


def test_a_name_may_turn_out_to_lie_in_a_listed_network() -> None:
    policy = AddressPolicy(["10.0.0.0/8"], [], public=False)
    assert not policy.check_target(target("tools.example"))
    policy.check_address(ip_address("10.0.0.1"), named=False)
    with pytest.raises(Denied, match=r"run\.yaml does not list it"):
        policy.check_address(ip_address("8.8.8.8"), named=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither a host name nor an address"),
        ("10.0.0.1/8", "has host bits set"),
        ("a.example/mcp", "does not appear to be an IPv4 or IPv6 network"),
        ("a.example:8000", "neither a host name nor an address"),
        ("*.", "neither a host name nor an address"),
        ("a.*.example", "neither a host name nor an address"),
        ("2130706433", "is an address in disguise: write 127.0.0.1"),
        ("ftp://a.example", "is no http:// or https:// address"),
        ("https://", "is no http:// or https:// address"),
        ("https://me@a.example", "more than scheme, host, port and path"),
        ("https://a.example/?x=1", "more than scheme, host, port and path"),
        ("https://a.example:port", "Port could not be cast"),
        ("https://a_b!.example", "neither a host name nor an address"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_rule(text)
