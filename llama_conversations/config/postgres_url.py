"""A PostgreSQL URL taken apart and put together again, with any character in its password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode

DEFAULT_HOST = "localhost"
DEFAULT_NAME = "llama_conversations"
"""Of the database, and of its user."""

_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<login>.*)@)?(?P<server>[^@/?]*)(?:/(?P<db>[^@?]*))?(?:\?(?P<query>[^@]*))?", re.DOTALL
)
_PORT = re.compile(r":[0-9]+(?=,|$)")


@dataclass(frozen=True)
class PostgresAddress:
    """Where a database is, and as whom it is opened; what is empty is taken from the defaults.

    Attributes:
        server: ``host``, ``host:port`` or several of them with commas between, as in a URL.
        query: Other connection parameters, by libpq's names.
    """

    server: str = ""
    db: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def has_port(self) -> bool:
        """Whether a port is given."""
        return _PORT.search(self.server) is not None or "port" in self.query

    @property
    def has_host(self) -> bool:
        """Whether a host is given."""
        return self.server != "" or "host" in self.query

    @property
    def location(self) -> str:
        """The server and the database, for people: no user, no secrets."""
        server = self.server or self.query.get("host", DEFAULT_HOST)
        return f"postgresql://{unquote(server)}/{self.db or DEFAULT_NAME}"

    @property
    def dsn(self) -> str:
        """The whole as a URL, everything in it encoded."""
        login = quote(self.user or DEFAULT_NAME, safe="")
        if self.password:
            login += f":{quote(self.password, safe='')}"
        server = self.server if self.has_host else DEFAULT_HOST
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"postgresql://{login}@{server}/{quote(self.db or DEFAULT_NAME, safe='')}{query}"


def parse_postgres_url(url: str) -> PostgresAddress | None:
    """A ``postgresql://user:password@host:port/db?parameter=value``; ``None`` for anything else.

    The login ends at the last ``@``. So ``@``, ``:``, ``/`` and ``?`` in a password may be written as they are, while
    ``%`` followed by two hex digits is taken as an encoded character.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return None
    user, _, password = (found["login"] or "").partition(":")
    return PostgresAddress(
        server=found["server"],
        db=unquote(found["db"] or ""),
        user=unquote(user),
        password=unquote(password),
        query=dict(parse_qsl(found["query"] or "", keep_blank_values=True)),
    )


def server_of(host: str, port: int | None) -> str:
    """A host (a name, an address, or the folder of a Unix socket) and a port, as they stand in a URL."""
    if host.startswith("/"):
        host = quote(host, safe="")
    elif ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return host if port is None else f"{host}:{port}"
