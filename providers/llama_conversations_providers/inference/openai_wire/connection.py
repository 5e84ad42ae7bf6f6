"""How a model server is connected to: TLS and proxies, settled once before the first request."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from llama_conversations.errors import ConfigError, ConfigProblem
from llama_conversations_providers.inference.openai_wire.config import TLS


def tls_context(provider_id: str, settings: TLS) -> ssl.SSLContext | bool:
    """What aiohttp takes as ``ssl``: the default (``True``), no checks (``False``) or a context.

    Raises ``ConfigError`` for a file that cannot be read or is no PEM.
    """
    if settings.ca_file is None and settings.client_cert is None:
        return settings.verify
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        context = _trusting(provider_id, settings.ca_file)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_cert is not None:
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key)
        except (OSError, ssl.SSLError) as error:
            raise _bad_file(provider_id, "client_cert", settings.client_cert, error) from error
    return context


def _trusting(provider_id: str, ca_file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _bad_file(provider_id, "ca_file", ca_file, error) from error


def _bad_file(provider_id: str, key: str, path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return ConfigError(f"provider '{provider_id}'", [ConfigProblem(f"tls.{key}", f"'{path}' cannot be used: {reason}")])


def environment_proxy(url: URL) -> str | None:
    """The proxy that ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` prescribe; never one for this machine itself."""
    host = url.host or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    proxy = getproxies().get(url.scheme)
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
