"""``stack db …``: care for the databases of a configuration, also while a server uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llama_conversations.cli.failures import told_plainly
from llama_conversations.cli.options import Source, Variables, environment
from llama_conversations.errors import StackError

if TYPE_CHECKING:
    from llama_conversations.storage.care import DatabaseCare, DatabaseStatus

app = typer.Typer(
    help="Care for the databases of a configuration, also while a server uses them.", no_args_is_help=True
)

BackendName = Annotated[
    str | None, typer.Option("--backend", metavar="NAME", help="One of several databases, by its name in CONFIG.")
]


class NoSuchDatabase(StackError):
    """What was named, or not named, leaves no database to work on."""


@dataclass(frozen=True)
class Database:
    """A database of a configuration: the name of its backend, what is kept in it, and how it is cared for."""

    backend: str
    stores: Sequence[str]
    care: DatabaseCare


@app.command()
def status(
    source: Source,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    backend: BackendName = None,
    env: Variables = None,
) -> None:
    """Show each database's schema, size and content."""
    import orjson

    with told_plainly():
        found = [(database, database.care.status()) for database in _databases(source, environment(env), backend)]
    if as_json:
        listed = [{"backend": one.backend, "stores": one.stores, **asdict(status)} for one, status in found]
        typer.echo(orjson.dumps({"databases": listed}, option=orjson.OPT_INDENT_2))
        return
    for database, state in found:
        for line in _shown(database, state):
            typer.echo(line)


@app.command()
def upgrade(source: Source, *, backend: BackendName = None, env: Variables = None) -> None:
    """Bring each database's schema to the newest revision, as a server does when it starts."""
    with told_plainly():
        for database in _databases(source, environment(env), backend):
            done = database.care.upgrade()
            change = "up to date" if done.before == done.after else f"from {done.before or 'nothing'}"
            typer.echo(f"{database.backend}: revision {done.after} ({change})")


@app.command()
def vacuum(source: Source, *, backend: BackendName = None, env: Variables = None) -> None:
    """Give back the space of what was deleted, and wipe out its content; whoever writes waits meanwhile."""
    with told_plainly():
        for database in _databases(source, environment(env), backend):
            done = database.care.vacuum()
            typer.echo(f"{database.backend}: {done.before} bytes before, {done.after} after")


@app.command()
def backup(
    source: Source,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a database file like the original.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    backend: BackendName = None,
    env: Variables = None,
) -> None:
    """Copy a database to a file while servers use it; the copy is checked before it gets its name."""
    with told_plainly():
        database, *others = _databases(source, environment(env), backend)
        if others:
            names = ", ".join(one.backend for one in (database, *others))
            raise NoSuchDatabase(f"There are several databases: {names}. Name one of them by --backend.")
        size = database.care.backup(file, overwrite=force)
        typer.echo(f"{database.backend}: {size} bytes in {file}, checked")


def _databases(source: str, environ: Mapping[str, str], backend: str | None) -> Sequence[Database]:
    """The databases that a configuration's stores use, or the named one."""
    from llama_conversations.stack.loading import load_stack_config
    from llama_conversations.stack.registry import provider_specs
    from llama_conversations.storage.care import care_for

    storage = load_stack_config(source, environ, provider_specs()).config.storage
    stores: dict[str, list[str]] = {}
    for store, reference in storage.stores:
        stores.setdefault(reference.backend, []).append(store)
    if backend is not None and backend not in stores:
        raise NoSuchDatabase(f"No store uses a backend '{backend}'; there are: {', '.join(stores)}.")
    names = stores if backend is None else [backend]
    return [Database(name, stores[name], care_for(storage.backends[name])) for name in names]


def _shown(database: Database, state: DatabaseStatus) -> Iterator[str]:
    newest = "the newest" if state.revision == state.newest else f"the newest is {state.newest}"
    free = "" if state.free is None else f", of which {state.free} free"
    responses = ", ".join(f"{number} {status}" for status, number in sorted(state.responses.items()))
    yield f"{database.backend} ({', '.join(database.stores)}): {state.location}"
    yield f"  schema         {state.revision or 'none'} ({newest})"
    yield f"  bytes          {state.size}{free}"
    yield f"  conversations  {state.conversations}"
    yield f"  items          {state.items}"
    yield f"  responses      {sum(state.responses.values())}{f': {responses}' if responses else ''}"
    yield f"  events         {state.events}"
