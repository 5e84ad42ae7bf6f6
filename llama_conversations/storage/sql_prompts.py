"""Prompts in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson
from sqlalchemy import bindparam, delete, func, insert, select, update

from llama_conversations.access import AccessScope
from llama_conversations.errors import PromptNotFound
from llama_conversations.storage.database import Database
from llama_conversations.storage.effects import with_answer
from llama_conversations.storage.records import PromptRecord
from llama_conversations.storage.scopes import filtered_by_owner, owned_by, scope_parameters
from llama_conversations.storage.tables import prompt_versions as versions
from llama_conversations.storage.tables import prompts
from llama_conversations.storage.unit_of_work import Row, Run, SqlValue, Statement, Unit

LAST_VERSION = 2**31 - 1
"""What the column holds at the most; no prompt has more versions."""

_THIS = (prompts.c.id == bindparam("id"), *filtered_by_owner(prompts))
_IS_DEFAULT = versions.c.version == prompts.c.default_version
_ANY_VERSION = select(
    versions.c.prompt_id,
    versions.c.version,
    versions.c.text,
    versions.c.variables,
    _IS_DEFAULT,
    versions.c.created_at,
).join(prompts, prompts.c.id == versions.c.prompt_id)
_OF_THIS = _ANY_VERSION.where(*_THIS)

_INSERT = Statement(
    insert(prompts).values(
        {column: bindparam(column) for column in ("id", "tenant", "owner", "created_at", "default_version")}
    )
)
_INSERT_VERSION = Statement(
    insert(versions).values(
        {column: bindparam(column) for column in ("prompt_id", "version", "text", "variables", "created_at")}
    )
)
_SELECT_DEFAULT = Statement(_OF_THIS.where(_IS_DEFAULT))
_SELECT_VERSION = Statement(_OF_THIS.where(versions.c.version == bindparam("version")))
_SELECT_VERSIONS = Statement(_OF_THIS.order_by(versions.c.version))
_SELECT_ALL = Statement(
    _ANY_VERSION.where(*owned_by(prompts), _IS_DEFAULT).order_by(prompts.c.created_at.desc(), prompts.c.id.desc())
)
_SET_DEFAULT = Statement(
    update(prompts).where(*_THIS).values(default_version=bindparam("version")).returning(prompts.c.id)
)
_LOCK = Statement(
    update(prompts).where(*_THIS).values(default_version=prompts.c.default_version).returning(prompts.c.id)
)
_LATEST = Statement(select(func.max(versions.c.version)).where(versions.c.prompt_id == bindparam("id")))
_DELETE = Statement(delete(prompts).where(*_THIS).returning(prompts.c.id))


class SqlPromptStore:
    """Implements ``stores.PromptStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, scope: AccessScope, prompt: PromptRecord) -> None:
        """Store version 1."""
        await self._database.write(with_answer(_create(scope, prompt)))

    async def list(self, scope: AccessScope) -> Sequence[PromptRecord]:
        """Read the default version of every prompt."""
        return await self._database.read(_select(_SELECT_ALL, scope_parameters(scope)))

    async def get(self, scope: AccessScope, prompt_id: str, version: int | None) -> PromptRecord:
        """Read one version."""
        return await self._database.read(_get(scope, prompt_id, version))

    async def versions(self, scope: AccessScope, prompt_id: str) -> Sequence[PromptRecord]:
        """Read all versions."""
        found = await self._database.read(_select(_SELECT_VERSIONS, _this(scope, prompt_id)))
        if not found:
            raise PromptNotFound(prompt_id)
        return found

    async def add_version(self, scope: AccessScope, prompt: PromptRecord) -> bool:
        """Store the next version."""
        return await self._database.write(with_answer(_add_version(scope, prompt)))

    async def set_default(self, scope: AccessScope, prompt_id: str, version: int) -> PromptRecord:
        """Make a version the default."""
        return await self._database.write(with_answer(_set_default(scope, prompt_id, version)))

    async def delete(self, scope: AccessScope, prompt_id: str) -> None:
        """Delete; the versions go by the foreign key's cascade."""
        await self._database.write(_delete(scope, prompt_id))


def _this(scope: AccessScope, prompt_id: str) -> dict[str, SqlValue]:
    return {"id": prompt_id, **scope_parameters(scope)}


def _prompt(row: Row) -> PromptRecord:
    prompt_id, version, text, variables, is_default, created_at = cast("tuple[str, int, str, str, bool, int]", row)
    return PromptRecord(prompt_id, version, text, orjson.loads(variables), bool(is_default), created_at)


def _select(statement: Statement, parameters: dict[str, SqlValue]) -> Unit[Sequence[PromptRecord]]:
    rows = yield Run(statement, parameters)
    return [_prompt(row) for row in rows]


def _insert_version(prompt: PromptRecord) -> Unit[None]:
    yield Run(
        _INSERT_VERSION,
        {
            "prompt_id": prompt.id,
            "version": prompt.version,
            "text": prompt.text,
            "variables": orjson.dumps(list(prompt.variables)).decode(),
            "created_at": prompt.created_at,
        },
    )


def _create(scope: AccessScope, prompt: PromptRecord) -> Unit[None]:
    values = {"created_at": prompt.created_at, "default_version": prompt.version}
    yield Run(_INSERT, {**_this(scope, prompt.id), **values})
    yield from _insert_version(prompt)


def _get(scope: AccessScope, prompt_id: str, version: int | None) -> Unit[PromptRecord]:
    if version is not None and not 0 < version <= LAST_VERSION:
        raise PromptNotFound(prompt_id, version)
    statement = _SELECT_DEFAULT if version is None else _SELECT_VERSION
    found = yield from _select(statement, {**_this(scope, prompt_id), "version": version})
    if not found:
        raise PromptNotFound(prompt_id, version)
    return found[0]


def _add_version(scope: AccessScope, prompt: PromptRecord) -> Unit[bool]:
    this = _this(scope, prompt.id)
    locked = yield Run(_LOCK, this)
    if not locked:
        raise PromptNotFound(prompt.id)
    latest = yield Run(_LATEST, {"id": prompt.id})
    if latest[0][0] != prompt.version - 1:
        return False
    yield from _insert_version(prompt)
    if prompt.is_default:
        yield Run(_SET_DEFAULT, {**this, "version": prompt.version})
    return True


def _set_default(scope: AccessScope, prompt_id: str, version: int) -> Unit[PromptRecord]:
    yield from _get(scope, prompt_id, version)
    yield Run(_SET_DEFAULT, {**_this(scope, prompt_id), "version": version})
    return (yield from _get(scope, prompt_id, version))


def _delete(scope: AccessScope, prompt_id: str) -> Unit[None]:
    rows = yield Run(_DELETE, _this(scope, prompt_id))
    if not rows:
        raise PromptNotFound(prompt_id)
