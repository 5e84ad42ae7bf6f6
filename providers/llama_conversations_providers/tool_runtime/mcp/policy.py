"""Which addresses a caller may send this server to, as run.yaml says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from llama_conversations_providers.tool_runtime.mcp.addresses import (
    Host,
    IPAddress,
    faces,
    is_public,
    is_within,
    read_host,
    read_network,
)

DEFAULT_PORTS = {"http": 80, "https": 443}

_AMBIGUOUS = re.compile(r"%|\\|//|/\.\.?(?:/|$)")
"""Ways to write a path so that one server reads another path in it than the next."""


class Denied(Exception):
    """An address is not allowed; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL points to; ``path`` is as it goes over the wire, without the query."""

    scheme: str
    host: Host
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class HostRule:
    """``example.com`` is that host, ``*.example.com`` those below it, ``*`` all."""

    pattern: str

    def matches(self, target: Target) -> bool:
        """Whether the target's host is meant."""
        host = str(target.host)
        if self.pattern.startswith("*."):
            return host.endswith(self.pattern[1:])
        return self.pattern in ("*", host)


@dataclass(frozen=True, slots=True)
class UrlRule:
    """Everything below a URL: scheme, host, port, and whole segments of the path."""

    base: Target

    def matches(self, target: Target) -> bool:
        """Whether the target lies below the URL. Errors: ``Denied`` where its path does not tell."""
        base, prefix = self.base, self.base.path.rstrip("/")
        if (target.scheme, target.host, target.port) != (base.scheme, base.host, base.port):
            return False
        if prefix and _AMBIGUOUS.search(target.path):
            raise Denied("its path can be read in several ways")
        return not prefix or target.path == prefix or target.path.startswith(f"{prefix}/")


Rule = HostRule | UrlRule | IPv4Network | IPv6Network


def read_rule(text: str) -> Rule:
    """An entry of a list: a network, a URL, or a host's name or pattern. Raises ``ValueError``."""
    if "://" in text:
        return _read_url(text)
    try:
        return read_network(text)
    except ValueError:
        if "/" in text:
            raise
    if text == "*":
        return HostRule(text)
    below = text.startswith("*.")
    host = read_host(_ascii(text[2:] if below else text))
    if not isinstance(host, str):
        raise ValueError(f"'{text}' is an address in disguise: write {host}")  # noqa: TRY004 the value is wrong
    return HostRule(f"*.{host}" if below else host)


def _read_url(text: str) -> UrlRule:
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"'{text}' is no http:// or https:// address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"'{text}' holds more than scheme, host, port and path")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return UrlRule(Target(parts.scheme, read_host(_ascii(parts.hostname)), port, parts.path))


def _ascii(name: str) -> str:
    """A name with letters beyond ASCII as it stands in a URL that is sent."""
    return name if name.isascii() else name.encode("idna").decode()


class AddressPolicy:
    """Decides about URLs and about the addresses that their hosts turn out to have.

    What a rule of ``deny`` matches is denied, whatever else allows it. What a rule of ``allow`` matches is allowed,
    wherever a name may lead. The rest is allowed if it is public and ``public`` says so.

    Args:
        allow: Rules as ``read_rule`` takes them.
        deny: Likewise.
        public: Whether public addresses need not be listed.
    """

    def __init__(self, allow: Sequence[str], deny: Sequence[str], *, public: bool) -> None:
        self._allowed_names, self._allowed_networks = _sorted(allow)
        self._denied_names, self._denied_networks = _sorted(deny)
        self._public = public

    def check_target(self, target: Target) -> bool:
        """Whether ``allow`` names the target's host or URL, so that its addresses need not be public.

        Errors: ``Denied``. That there is none says nothing yet about a name: its addresses are still to be checked.
        """
        if any(rule.matches(target) for rule in self._denied_names):
            raise Denied("run.yaml denies it")
        named = any(rule.matches(target) for rule in self._allowed_names)
        if not isinstance(target.host, str):
            self.check_address(target.host, named=named)
        elif not (named or self._public or self._allowed_networks):
            raise Denied("run.yaml does not list it")
        return named

    def check_address(self, address: IPAddress, *, named: bool) -> None:
        """Errors: ``Denied``; ``named`` is what ``check_target`` said."""
        seen = faces(address)
        if any(is_within(face, self._denied_networks) for face in seen):
            raise Denied("run.yaml denies it")
        if named or any(is_within(face, self._allowed_networks) for face in seen):
            return
        if not is_public(address):
            raise Denied("it does not lead to the public internet, and run.yaml does not list it")
        if not self._public:
            raise Denied("run.yaml does not list it")


def _sorted(texts: Sequence[str]) -> tuple[list[HostRule | UrlRule], list[IPv4Network | IPv6Network]]:
    rules = [read_rule(text) for text in texts]
    names = [rule for rule in rules if isinstance(rule, HostRule | UrlRule)]
    return names, [rule for rule in rules if not isinstance(rule, HostRule | UrlRule)]
