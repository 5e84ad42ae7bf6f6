"""Registered resources in SQL, and whether the database answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlalchemy import BigInteger, bindparam, delete, insert, literal, select, update

from llama_conversations.storage.database import Database
from llama_conversations.storage.expressions import insert_if_absent, now_ms, turn_taken
from llama_conversations.storage.records import ResourceRecord
from llama_conversations.storage.tables import leases, resources
from llama_conversations.storage.unit_of_work import Run, RunMany, SqlValue, Statement, Unit

_TURN = 0x6C6C616D615F7265
"""The turn of those who replace resources: two that replace the same ones would each insert them."""

_FIELDS = (resources.c.kind, resources.c.identifier, resources.c.provider_id, resources.c.data)

_SELECT = Statement(
    select(*_FIELDS)
    .where(resources.c.kind == bindparam("kind"))
    .order_by(resources.c.provider_id, resources.c.identifier)
)
_DELETE = Statement(
    delete(resources).where(resources.c.kind == bindparam("kind"), resources.c.provider_id == bindparam("provider_id"))
)
_INSERT = Statement(insert(resources).values({column.name: bindparam(column.name) for column in _FIELDS}))
_INSERT_IF_ABSENT = Statement(
    insert_if_absent(resources).values({column.name: bindparam(column.name) for column in _FIELDS})
)
_TAKE_TURN = Statement(select(turn_taken(literal(_TURN, BigInteger))))
_PING = Statement(select(literal(1)))
_PROBE = Statement(update(leases).where(leases.c.name == bindparam("name_")).values(expires_at=now_ms()))


class SqlRegistryStore:
    """Implements ``stores.RegistryStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, kind: str) -> Sequence[ResourceRecord]:
        """Read all resources of a kind."""
        return await self._database.read(_load(kind))

    async def replace(self, kind: str, provider_id: str, resources: Sequence[ResourceRecord]) -> None:
        """Replace the resources of a kind that a provider has."""
        await self._database.write(_replace(kind, provider_id, resources))


class SqlSecretStore:
    """Implements ``stores.SecretStore``; secrets are resources of a kind of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, name: str, secret: str) -> str:
        """Keep a secret unless there is one."""
        return await self._database.write(_keep(ResourceRecord("secret", name, "", secret)))


class SqlHealthStore:
    """Implements ``stores.HealthStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> None:
        """Ask the database for anything."""
        await self._database.read(_ping())

    async def try_write(self) -> None:
        """Write the time to a row that nobody reads."""
        await self._database.write(_probe())


def _load(kind: str) -> Unit[Sequence[ResourceRecord]]:
    rows = yield Run(_SELECT, {"kind": kind})
    return [ResourceRecord(*cast("tuple[str, str, str, str]", row)) for row in rows]


def _replace(kind: str, provider_id: str, new: Sequence[ResourceRecord]) -> Unit[None]:
    yield Run(_TAKE_TURN, {})
    yield Run(_DELETE, {"kind": kind, "provider_id": provider_id})
    yield RunMany(_INSERT, [_values(resource) for resource in new])


def _keep(new: ResourceRecord) -> Unit[str]:
    yield Run(_INSERT_IF_ABSENT, _values(new))
    kept = yield from _load(new.kind)
    return next(secret.data for secret in kept if secret.identifier == new.identifier)


def _values(resource: ResourceRecord) -> dict[str, SqlValue]:
    return {column.name: cast("SqlValue", getattr(resource, column.name)) for column in _FIELDS}


def _ping() -> Unit[None]:
    yield Run(_PING, {})


def _probe() -> Unit[None]:
    yield Run(_PROBE, {"name_": "probe"})
