"""What a session's requests may go to: every URL and every address is asked about before anything is sent to it."""

from __future__ import annotations

from typing import Protocol

import httpx2

from llama_conversations_providers.tool_runtime.mcp.addresses import IPAddress, read_host
from llama_conversations_providers.tool_runtime.mcp.peer import Peer
from llama_conversations_providers.tool_runtime.mcp.policy import DEFAULT_PORTS, AddressPolicy, Denied, Target


class Admission(Protocol):
    """Errors of both: ``errors.ToolServerForbidden``."""

    def check_url(self, url: httpx2.URL) -> None:
        """Whether a request may be sent to this URL, as far as that can be told before its host is looked up."""
        ...

    def check_address(self, address: IPAddress) -> None:
        """Whether a connection may be made to this address."""
        ...


class Trusted:
    """For servers that the operator named: anything goes."""

    def check_url(self, url: httpx2.URL) -> None:
        """Every URL."""

    def check_address(self, address: IPAddress) -> None:
        """Every address."""


class Guarded:
    """For a server that a caller named: what policy allows.

    Connections are used again within a session, so all of its URLs have to be allowed for the same reason: one that is
    allowed by its path must not open the way for one that is not.
    """

    def __init__(self, policy: AddressPolicy, peer: Peer, url: httpx2.URL) -> None:
        """Errors: ``errors.ToolServerForbidden``."""
        self._policy, self._peer = policy, peer
        self._named = self._is_named(url)

    def check_url(self, url: httpx2.URL) -> None:
        """Only what is allowed for the same reason as the first."""
        if self._is_named(url) != self._named:
            raise self._peer.forbidden("it redirects to one that run.yaml does not list")

    def check_address(self, address: IPAddress) -> None:
        """Only what the policy admits."""
        try:
            self._policy.check_address(address, named=self._named)
        except Denied as denied:
            raise self._peer.forbidden(str(denied)) from None

    def _is_named(self, url: httpx2.URL) -> bool:
        try:
            return self._policy.check_target(_target_of(url))
        except Denied as denied:
            raise self._peer.forbidden(str(denied)) from None


def _target_of(url: httpx2.URL) -> Target:
    if url.scheme not in DEFAULT_PORTS:
        raise Denied("it is no http:// or https:// address")
    if url.port is not None and not 0 < url.port < 65536:
        raise Denied("its port is none from 1 to 65535")
    if url.userinfo:
        raise Denied("it holds a user name or a password")
    try:
        host = read_host(url.raw_host.decode("ascii"))
    except ValueError:
        raise Denied("its host is neither a name nor an address") from None
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    return Target(url.scheme, host, url.port or DEFAULT_PORTS[url.scheme], path)
