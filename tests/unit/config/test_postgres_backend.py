"""A PostgreSQL database's settings: a URL or its parts, any character in the password, and nothing told twice."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from llama_conversations.config.findings import Finding
from llama_conversations.config.loader import load_run_config
from llama_conversations.config.masking import MASK, mask_secrets
from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.config.run_config import StorageConfig
from llama_conversations.config.settings import parse_settings

ODD = "p@ss:w/rd?%zz#"


def backend(**settings: object) -> PostgresBackend:
    return TypeAdapter(PostgresBackend).validate_python({"type": "sql_postgres", **settings})


def problems(**settings: object) -> list[str]:
    config, found = parse_settings(StorageConfig, {"backends": {"default": {"type": "sql_postgres", **settings}}})
    assert config is None
    return [message_of(finding) for finding in found]


def message_of(finding: Finding) -> str:
    return f"{'.'.join(map(str, finding.path))}: {finding.message}"


@pytest.mark.parametrize(
    ("settings", "dsn"),
    [
        ({"url": "postgresql://"}, "postgresql://llama_conversations@localhost/llama_conversations"),
        ({"url": "postgres://u:p@h:6000/d"}, "postgresql://u:p@h:6000/d"),
        ({"url": "postgresql://u:p%40ss@h/d"}, "postgresql://u:p%40ss@h/d"),
        ({"url": f"postgresql://u:{ODD}@h/d"}, "postgresql://u:p%40ss%3Aw%2Frd%3F%25zz%23@h/d"),
        ({"url": "postgresql://u@h1:1,h2:2/d"}, "postgresql://u@h1:1,h2:2/d"),
        ({"url": "postgresql://u@[::1]:1/d?sslmode=require"}, "postgresql://u@[::1]:1/d?sslmode=require"),
        (
            {"url": "postgresql://u@/d?host=/run/postgresql"},
            "postgresql://u@/d?host=%2Frun%2Fpostgresql",
        ),
        ({"url": "postgresql://u@h/d", "password": ODD}, "postgresql://u:p%40ss%3Aw%2Frd%3F%25zz%23@h/d"),
        (
            {"url": "postgresql://", "port": "6000"},
            "postgresql://llama_conversations@localhost:6000/llama_conversations",
        ),
        (
            {"host": "h", "port": 1, "db": "a/b", "user": "u@x", "password": "0012"},
            "postgresql://u%40x:0012@h:1/a%2Fb",
        ),
        ({"host": "::1", "port": 1, "db": "d", "user": "u"}, "postgresql://u@[::1]:1/d"),
        ({"host": "/run/postgresql", "db": "d", "user": "u"}, "postgresql://u@%2Frun%2Fpostgresql/d"),
        (
            {"host": "h", "db": "d", "user": "u", "sslmode": "verify-full", "ssl_root_cert": "/x y"},
            "postgresql://u@h/d?sslmode=verify-full&sslrootcert=%2Fx+y",
        ),
    ],
)
def test_a_url_and_its_parts_are_put_together(settings: dict[str, object], dsn: str) -> None:
    assert backend(**settings).address.dsn == dsn


def test_where_it_is_is_told_without_who_opens_it() -> None:
    assert backend(url=f"postgresql://u:{ODD}@h:1/d?sslmode=require").location == "postgresql://h:1/d"
    assert backend(host="/run/postgresql").location == "postgresql:///run/postgresql/llama_conversations"


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, "backends.default.url: is required, or host (with port, db, user and password)"),
        ({"url": "mysql://h/d"}, "backends.default.url: must be like postgresql://user:password@host:port/db"),
        ({"url": "postgresql://h/d", "host": "h"}, "backends.default.host: is given in url, too: give it once"),
        ({"url": "postgresql://h:1/d", "port": 1}, "backends.default.port: is given in url, too: give it once"),
        ({"url": "postgresql://h/d", "db": "d"}, "backends.default.db: is given in url, too: give it once"),
        ({"url": "postgresql://u@h/d", "user": "u"}, "backends.default.user: is given in url, too: give it once"),
        (
            {"url": "postgresql://u:p@h", "password": "p"},
            "backends.default.password: is given in url, too: give it once",
        ),
        (
            {"url": "postgresql://h/d?sslmode=require", "sslmode": "prefer"},
            "backends.default.sslmode: is given in url, too: give it once",
        ),
        (
            {"url": "postgresql://h/d?sslmode=on"},
            "backends.default.url: its sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
        ),
        *(
            (
                {"host": "h", "ssl_root_cert": "/x", **mode},
                f"backends.default.ssl_root_cert: verifies nothing with sslmode {name}: give verify-full, or verify-ca",
            )
            for name, mode in [("prefer", {}), ("allow", {"sslmode": "allow"}), ("disable", {"sslmode": "disable"})]
        ),
        (
            {"url": "postgresql://h/d?sslrootcert=/x"},
            (
                "backends.default.url: its sslrootcert verifies nothing with sslmode prefer: give "
                "verify-full, or verify-ca"
            ),
        ),
        ({"host": "h", "ssl_key": "/x"}, "backends.default.ssl_key: is the key of a certificate, which is not given"),
        (
            {"url": "postgresql://h/d?sslkey=/x"},
            "backends.default.url: its sslkey is the key of a certificate, which is not given",
        ),
        (
            {"host": "h", "ssl_cert": "/x", "sslmode": "disable"},
            "backends.default.ssl_cert: is shown to nobody with sslmode disable",
        ),
        ({"host": "h", "port": 70000}, "backends.default.port: must be at most 65535, not 70000"),
        ({"host": "h", "ssl_key": "~nobody-of-this-name/x"}, None),
        ({"host": "h", "pasword": "x"}, "backends.default.pasword: unknown key 'pasword'; did you mean 'password'?"),
    ],
)
def test_what_is_wrong_is_told_at_its_key(settings: dict[str, object], wrong: str | None) -> None:
    [found] = problems(**settings)
    assert found.startswith("backends.default.ssl_key: '~' cannot be expanded") if wrong is None else found == wrong


@pytest.mark.parametrize("settings", [{"url": f"postgresql://u:{ODD}@h/d"}, {"host": "h", "password": ODD}])
def test_no_password_is_shown(settings: dict[str, object]) -> None:
    found = backend(**settings)
    for shown in (repr(found), repr(found.address), str(mask_secrets(found)), str(mask_secrets(settings))):
        assert "ss:w" not in shown
    assert MASK in str(mask_secrets(found))


def test_the_postgres_distribution_needs_nothing_but_a_server_on_this_machine() -> None:
    found = load_run_config("postgres", {}).config.storage.backends["default"]
    assert isinstance(found, PostgresBackend)
    assert found.address.dsn == "postgresql://llama_conversations@localhost/llama_conversations"


def test_the_postgres_distribution_takes_a_url_and_a_password_beside_it() -> None:
    environ = {"POSTGRES_URL": "postgresql://u@h/d", "POSTGRES_PASSWORD": ODD}
    found = load_run_config("postgres", environ).config.storage.backends["default"]
    assert isinstance(found, PostgresBackend)
    assert found.address.dsn == "postgresql://u:p%40ss%3Aw%2Frd%3F%25zz%23@h/d"


def test_the_postgres_distribution_takes_parts() -> None:
    environ = {f"POSTGRES_{name}": name.lower() for name in ("HOST", "DB", "USER", "PASSWORD")}
    found = load_run_config("postgres", {**environ, "POSTGRES_PORT": "6000"}).config.storage.backends["default"]
    assert isinstance(found, PostgresBackend)
    assert found.address.dsn == "postgresql://user:password@host:6000/db"
