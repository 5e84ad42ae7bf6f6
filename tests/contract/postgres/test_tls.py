"""PostgreSQL over TLS: each setting does what it says, or it is told which one stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.conversations import create, items_of, texts_of, user
from harness.postgres import Cluster
from harness.turns import text_of, turn

pytestmark = pytest.mark.databases("postgres")

HOST = "localhost"
"""The name that stands in the server's certificate; its address does not."""

ADDRESS = "127.0.0.1"

GUARDED = "guarded"
"""A database that only those with a certificate may open."""

ADMITTED = (
    f"hostssl {GUARDED} all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca",
    "hostssl plain all 127.0.0.1/32 scram-sha-256",
    "host postgres all 127.0.0.1/32 scram-sha-256",  # the tests' own view
)


@dataclass(frozen=True)
class Encrypted:
    """A PostgreSQL server that admits nobody without TLS, and the files of those who come."""

    cluster: Cluster
    files: Path

    def backend(self, **settings: object) -> dict[str, object]:
        """A database of it; what begins with ``@`` is the name of a file."""
        given = {key: self.path(value[1:]) if _is_file(value) else value for key, value in settings.items()}
        return {**self.cluster.backend("plain"), "host": HOST, **given}

    def path(self, name: str) -> str:
        """Where a file lies, or would lie."""
        return str(self.files / name)


def _is_file(value: object) -> bool:
    return isinstance(value, str) and value.startswith("@")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    files = tmp_path_factory.mktemp("certificates")
    ours, strange = Authority(), Authority("Authority of others")
    server, client, stranger = ours.sign("server", [HOST]), ours.sign("owner"), strange.sign("owner")
    written = {
        "ours.pem": ours.certificate,
        "strange.pem": strange.certificate,
        "client.crt": client.certificate,
        "client.key": client.key,
        "both.pem": client.certificate + client.key,
        "stranger.crt": stranger.certificate,
        "stranger.key": stranger.key,
        "text.pem": b"No certificate.",
    }
    for name, content in written.items():
        (files / name).write_bytes(content)
    cluster = Cluster(ssl="on", ssl_ca_file="authority.pem", ssl_cert_file="server.pem", ssl_key_file="server.key")
    if not cluster.has_tls:
        cluster.close()
        pytest.skip("this PostgreSQL is built without TLS")
    cluster.put(authority_pem=ours.certificate, server_pem=server.certificate, server_key=server.key)
    cluster.admit(*ADMITTED)
    try:
        cluster.start()
        for name in ("plain", GUARDED):
            cluster.execute(f"CREATE DATABASE {name}")
        yield Encrypted(cluster, files)
    finally:
        cluster.close()


def in_url(encrypted: Encrypted, **query: str) -> dict[str, object]:
    """The same database, as ``POSTGRES_URL`` would say it."""
    backend = encrypted.backend()
    parameters = "&".join(f"{key}={value}" for key, value in query.items())
    url = f"postgresql://owner@{HOST}:{backend['port']}/plain?{parameters}"
    return {"type": "sql_postgres", "url": url, "password": backend["password"]}


def test_a_server_keeps_everything_behind_a_verified_connection(
    encrypted: Encrypted, new_server: Callable[..., object]
) -> None:
    backend = encrypted.backend(
        db=GUARDED, sslmode="verify-full", ssl_root_cert="@ours.pem", ssl_cert="@client.crt", ssl_key="@client.key"
    )
    server = new_server(storage={"backends": {"default": backend}}).start()
    with server.http() as http:
        conversation_id = create(http, [user("Before")])
        assert text_of(turn(http, "echo", "Next", conversation=conversation_id)) == "seen=2 last=Next"
        assert texts_of(items_of(http, conversation_id)) == ["Before", "Next", "seen=2 last=Next"]
    opened = encrypted.cluster.execute(
        "SELECT count(*), bool_and(ssl), bool_and(client_dn = '/CN=owner') FROM pg_stat_ssl JOIN pg_stat_activity "
        f"USING (pid) WHERE datname = '{GUARDED}'"
    )
    assert opened[0][0] > 1, "its pool, and who listens for news"
    assert opened[0][1:] == (True, True)
    assert server.stop() == 0
    assert "Traceback" not in server.log, server.log


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sslmode": "allow"},
        {"sslmode": "prefer"},
        {"sslmode": "require"},
        {"sslmode": "require", "ssl_root_cert": "@ours.pem", "host": ADDRESS},
        {"sslmode": "verify-ca", "ssl_root_cert": "@ours.pem", "host": ADDRESS},
        {"sslmode": "verify-full", "ssl_root_cert": "@ours.pem"},
        {"ssl_cert": "@client.crt", "ssl_key": "@client.key", "db": GUARDED},
        {"sslmode": "require", "ssl_cert": "@both.pem", "db": GUARDED},
    ],
    ids=str,
)
def test_what_opens_it(encrypted: Encrypted, upgrade: Callable[..., str], settings: dict[str, object]) -> None:
    assert upgrade(encrypted.backend(**settings)) == ""


def test_what_opens_it_by_its_url(encrypted: Encrypted, upgrade: Callable[..., str]) -> None:
    assert upgrade(in_url(encrypted, sslmode="verify-full", sslrootcert=encrypted.path("ours.pem"))) == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sslmode": "disable"}, "no encryption (sslmode: disable)"),
        (
            {"sslmode": "require", "ssl_root_cert": "@strange.pem"},
            "self-signed certificate in certificate chain (sslmode: require, ssl_root_cert: {}/strange.pem)",
        ),
        (
            {"sslmode": "verify-full", "ssl_root_cert": "@strange.pem"},
            "self-signed certificate in certificate chain (sslmode: verify-full, ssl_root_cert: {}/strange.pem)",
        ),
        (
            {"sslmode": "verify-full", "ssl_root_cert": "@ours.pem", "host": ADDRESS},
            "certificate is not valid for '127.0.0.1'. (sslmode: verify-full, ssl_root_cert: {}/ours.pem)",
        ),
        ({"sslmode": "verify-ca"}, "(sslmode: verify-ca, ssl_root_cert: not given)"),
        ({"sslmode": "require", "db": GUARDED}, "requires a valid client certificate (sslmode: require)"),
        ({"db": GUARDED}, "no encryption; before that: connection requires a valid client certificate"),
        (
            {"sslmode": "require", "ssl_cert": "@stranger.crt", "ssl_key": "@stranger.key", "db": GUARDED},
            "(sslmode: require, ssl_cert: {0}/stranger.crt, ssl_key: {0}/stranger.key)",
        ),
        (
            {"sslmode": "verify-full", "ssl_root_cert": "@nowhere.pem"},
            "ssl_root_cert: {}/nowhere.pem cannot be read: No such file or directory",
        ),
        (
            {"sslmode": "verify-full", "ssl_root_cert": "@text.pem"},
            "ssl_root_cert: {}/text.pem has no certificate in PEM form",
        ),
        ({"ssl_cert": "@nowhere.crt"}, "ssl_cert: {}/nowhere.crt cannot be read: No such file or directory"),
        (
            {"ssl_cert": "@client.crt", "ssl_key": "@nowhere.key"},
            "ssl_key: {}/nowhere.key cannot be read: No such file or directory",
        ),
        (
            {"ssl_cert": "@client.crt", "ssl_key": "@stranger.key"},
            "ssl_cert and ssl_key: {0}/client.crt and {0}/stranger.key are not a certificate and its key in PEM form",
        ),
        (
            {"ssl_cert": "@client.crt"},
            "ssl_cert: {}/client.crt is not a certificate with its key in PEM form",
        ),
    ],
    ids=str,
)
def test_what_stands_in_the_way_is_named(
    encrypted: Encrypted, upgrade: Callable[..., str], settings: dict[str, object], told: str
) -> None:
    said = upgrade(encrypted.backend(**settings))
    assert "cannot be opened: " in said
    assert told.format(encrypted.files) in said


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_who_asks_for_tls_does_not_speak_to_a_server_without(
    encrypted: Encrypted, postgres: Cluster, upgrade: Callable[..., str], mode: str
) -> None:
    said = upgrade(encrypted.backend(port=postgres.port, sslmode=mode, ssl_root_cert="@ours.pem"))
    assert "rejected SSL upgrade" in said
    assert f"(sslmode: {mode}, ssl_root_cert: {encrypted.path('ours.pem')})" in said


def test_who_prefers_tls_speaks_to_a_server_without(
    encrypted: Encrypted, postgres: Cluster, upgrade: Callable[..., str]
) -> None:
    database = postgres.empty_database()
    for mode in ("disable", "allow", "prefer"):
        assert upgrade(encrypted.backend(port=postgres.port, db=database, sslmode=mode)) == ""
