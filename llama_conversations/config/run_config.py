"""The shape of a run.yaml. The descriptions are the comments of run.yaml.example, which a test holds to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)

from llama_conversations.config.findings import KeyPath, unknown_name
from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.config.settings import SettingsModel, demand_error, located_errors, plain_error

CONFIG_VERSION = 1
KNOWN_APIS = ("inference", "tool_runtime", "web_search")
DEFAULT_BACKEND = "default"
DEFAULT_DATABASE = "~/.llama_conversations/state.db"
MEBIBYTE = 1024 * 1024
MAX_WORKERS = 256

_PROVIDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PROVIDER_TYPE = re.compile(r"(?:inline|remote)::[a-z0-9][a-z0-9_-]*")


def _known_api(name: str) -> str:
    if name not in KNOWN_APIS:
        raise plain_error(unknown_name("API", name, KNOWN_APIS))
    return name


RecordingMode = Literal["live", "record", "replay", "record-if-missing"]
ApiName = Annotated[str, AfterValidator(_known_api)]
Name = Annotated[str, StringConstraints(min_length=1)]
Seconds = Annotated[float, Field(gt=0)]
Days = Annotated[float, Field(gt=0)]


def _matching(pattern: re.Pattern[str], demand: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise demand_error(demand)
        return value

    return AfterValidator(check)


def _database_path(path: Path) -> Path:
    if ":memory:" in str(path) or "mode=memory" in str(path):
        raise plain_error("a database in memory is not supported: give the path of a file")
    return _expanded(path)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise plain_error(f"'~' cannot be expanded: {error}") from None


def _kept_as_written(value: object, check: Callable[[object], object]) -> object:
    """Check, and keep what was given: the provider's own settings decide whether ``1.10`` is a number or text."""
    check(value)
    return value


def _not_supported_yet(value: object) -> object:
    if value is not None:
        raise plain_error("authentication is not supported yet; put a reverse proxy in front")
    return value


class ProviderEntry(SettingsModel):
    """One provider of an API."""

    provider_id: Annotated[
        str, _matching(_PROVIDER_ID, "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit")
    ] = Field(
        description="Name of the provider here, unique in its API; "
        "empty or __disabled__: the provider is left out, and its other variables need not be set"
    )
    provider_type: Annotated[str, _matching(_PROVIDER_TYPE, "inline::name or remote::name, in lower case")] = Field(
        description="inline::name (runs in this process) or remote::name (talks to another server)"
    )
    config: Annotated[dict[str, JsonValue], WrapValidator(_kept_as_written)] = Field(
        default_factory=dict, description="The provider's own settings"
    )


class SqliteBackend(SettingsModel):
    """A SQLite database."""

    type: Literal["sql_sqlite"] = Field(description="Kind of database: sql_sqlite")
    path: Annotated[Path, AfterValidator(_database_path)] = Field(
        description="Its file; made, with its folder, if it is not there"
    )
    synchronous: Literal["full", "normal"] = Field(
        default="full",
        description="full: what was acknowledged survives a power cut; normal: faster, survives a crash of the process",
    )
    busy_timeout_seconds: Seconds = Field(
        default=10, description="How long to wait for another process that writes to the file"
    )
    readers: int = Field(
        default=2, ge=1, le=16, description="Connections that read, 1 to 16, beside the one that writes"
    )

    @property
    def location(self) -> str:
        """Where the state lies, for people."""
        return str(self.path)


_BACKENDS: Mapping[str, type[SqliteBackend | PostgresBackend]] = {
    "sql_sqlite": SqliteBackend,
    "sql_postgres": PostgresBackend,
}


def _read_backend(value: object) -> object:
    """Read a mapping as its type says, so that its settings are never held against another type's."""
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind is None:
        raise located_errors((("type",), f"is required: {' or '.join(_BACKENDS)}"))
    if kind not in _BACKENDS:
        raise located_errors((("type",), unknown_name("type", str(kind), _BACKENDS)))
    return _BACKENDS[kind].model_validate(value)


Backend = Annotated[SqliteBackend | PostgresBackend, BeforeValidator(_read_backend)]
"""A database; ``type`` tells which kind."""


class StoreReference(SettingsModel):
    """Which database a store uses."""

    backend: str = Field(default=DEFAULT_BACKEND, description="Name of one of the backends")


class StoresConfig(SettingsModel):
    """What is kept in which database."""

    state: StoreReference = Field(
        default_factory=StoreReference,
        description="Conversations and responses; together, because a turn commits both in one transaction",
    )
    prompts: StoreReference = Field(default_factory=StoreReference, description="Prompts and their versions")
    registry: StoreReference = Field(default_factory=StoreReference, description="Registered and discovered models")


def _default_backends() -> dict[str, Backend]:
    return {DEFAULT_BACKEND: SqliteBackend(type="sql_sqlite", path=Path(DEFAULT_DATABASE))}


class StorageConfig(SettingsModel):
    """Where everything is kept."""

    backends: dict[str, Backend] = Field(default_factory=_default_backends, description="Databases, by name")
    stores: StoresConfig = Field(
        default_factory=StoresConfig, validate_default=True, description="What is kept in which database"
    )

    @field_validator("stores")
    @classmethod
    def _backends_exist(cls, stores: StoresConfig, info: ValidationInfo) -> StoresConfig:
        backends = info.data.get("backends")
        names = {"state": stores.state, "prompts": stores.prompts, "registry": stores.registry}
        wrong: list[tuple[KeyPath, str]] = [
            ((store, "backend"), unknown_name("backend", reference.backend, backends))
            for store, reference in names.items()
            if backends is not None and reference.backend not in backends
        ]
        if wrong:
            raise located_errors(*wrong)
        return stores


class ModelResource(SettingsModel):
    """A model that is served under a name of its own."""

    model_id: Name = Field(description="Name that clients ask for")
    provider_id: Name = Field(description="Inference provider that serves it; if that is left out, so is the model")
    provider_model_id: Name | None = Field(
        default=None, description="What the provider calls it; empty: the same as model_id"
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="Anything else to be said about it")


class ToolGroupResource(SettingsModel):
    """Tools that the server runs for whoever names their group."""

    tool_group_id: Name = Field(description="Name that clients give as connector_id of a tool of type mcp")
    provider_id: Name = Field(description="Tool runtime provider that reaches it; if that is left out, so is the group")
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="What the provider needs to reach it, such as server_url and authorization"
    )


class RegisteredResources(SettingsModel):
    """What is served beside what the providers offer of themselves."""

    models: list[ModelResource] = Field(default_factory=list, description="Models under names of your own")
    tool_groups: list[ToolGroupResource] = Field(default_factory=list, description="Tool servers that you trust")


class CorsConfig(SettingsModel):
    """Which web pages may call the server from a browser."""

    allow_origins: list[Name] = Field(description="Origins such as https://app.example, or '*' for any")
    allow_methods: list[Name] = Field(default=["*"], description="HTTP methods that they may use")
    allow_headers: list[Name] = Field(default=["*"], description="Request headers that they may send")
    allow_credentials: bool = Field(
        default=False, description="Whether they may send cookies and credentials; not together with the origin '*'"
    )

    @model_validator(mode="after")
    def _credentials_need_named_origins(self) -> CorsConfig:
        if self.allow_credentials and "*" in self.allow_origins:
            raise located_errors((("allow_credentials",), "cannot be true with the origin '*': name the origins"))
        return self


class LimitsConfig(SettingsModel):
    """What each process of a server takes on."""

    max_body_bytes: int = Field(default=32 * MEBIBYTE, ge=1, description="Largest request body, in bytes (32 MiB)")
    max_concurrent_turns: int = Field(
        default=1000, ge=1, description="Turns that run at once; more are refused with a request to retry"
    )
    max_background_turns: int = Field(default=64, ge=1, description="Of these, turns in the background")
    max_queued_turns: int = Field(
        default=10_000,
        ge=1,
        description="Background turns that may wait, for all workers; more are refused with a request to retry",
    )
    max_concurrent_requests: int = Field(
        default=1000, ge=1, description="Other requests served at once; more are refused with a request to retry"
    )
    websocket_seconds: Seconds = Field(default=3600, description="How long a WebSocket may stay connected")


class ServerConfig(SettingsModel):
    """How the server is reached."""

    host: Name = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0: all of them")
    port: int = Field(default=8321, ge=0, le=65535, description="Port to listen on; 0: any that is free")
    workers: int = Field(
        default=1, ge=1, le=MAX_WORKERS, description="Processes that serve the port together, on one database"
    )
    cors: CorsConfig | None = Field(
        default=None, description="Which web pages may call the server from a browser; left out: none"
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="What each worker takes on")
    shutdown_timeout_seconds: Seconds = Field(
        default=30, description="How long running requests and each provider's closing may take at shutdown"
    )
    auth: Annotated[None, BeforeValidator(_not_supported_yet)] = Field(
        default=None, description="Authentication is not supported yet; put a reverse proxy in front"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is logged: debug, info, warning or error"
    )


class TurnsConfig(SettingsModel):
    """How turns are guarded against processes that die."""

    lease_seconds: Seconds = Field(
        default=30, description="How long a turn holds its conversation without a sign of life; renewed while it runs"
    )
    sweep_seconds: Seconds = Field(
        default=10, description="How often turns whose lease ran out are failed and their conversations unlocked"
    )


class RetentionConfig(SettingsModel):
    """How long things are kept."""

    responses: Days | None = Field(
        default=None, description="Days after its creation on which a response is deleted; left out: never"
    )
    conversations: Days | None = Field(
        default=None,
        description="Days after its last item on which a conversation is deleted, with its items; left out: never",
    )
    every_seconds: Seconds = Field(default=3600, description="How often what is too old is looked for")


class InferenceRecordingConfig(SettingsModel):
    """Whether model servers are asked, or what they once said is said again."""

    mode: RecordingMode = Field(
        default="live",
        description="live: ask the model servers; record: ask them, and keep what they say; replay: never ask them, "
        "answer with what was kept; record-if-missing: replay what was kept before, record the rest",
    )
    directory: Annotated[Path, AfterValidator(_expanded)] = Field(
        default=Path("recordings"), description="Where it is kept; a folder in it for each provider"
    )


def recording_by_many(recording: InferenceRecordingConfig, server: ServerConfig) -> str | None:
    """What is wrong with recording, or replaying, in several processes: each would count the answers for itself."""
    if recording.mode == "live" or server.workers == 1:
        return None
    return f"inference in mode '{recording.mode}' needs one worker, and there are {server.workers}"


class StackRunConfig(SettingsModel):
    """A whole run.yaml."""

    version: int = Field(default=CONFIG_VERSION, description="Version of this file's format; 1")
    distro_name: Name = Field(
        default="custom",
        validation_alias=AliasChoices("distro_name", "image_name"),
        description="Name of this configuration, for logs and listings (image_name is read too)",
    )
    providers: dict[ApiName, list[ProviderEntry]] = Field(
        default_factory=dict, description="For each API, the providers that serve it"
    )
    apis: list[ApiName] = Field(
        default_factory=lambda data: list(data.get("providers", ())),
        description="Provider APIs to serve; left out: all that have an entry under providers",
    )
    storage: StorageConfig = Field(
        default_factory=StorageConfig,
        description="Where everything is kept; left out: in ~/.llama_conversations/state.db",
    )
    registered_resources: RegisteredResources = Field(
        default_factory=RegisteredResources, description="What is served beside what the providers offer of themselves"
    )
    server: ServerConfig = Field(default_factory=ServerConfig, description="How the server is reached")
    turns: TurnsConfig = Field(
        default_factory=TurnsConfig, description="How turns are guarded against processes that die"
    )
    retention: RetentionConfig = Field(
        default_factory=RetentionConfig, description="How long things are kept; by default for ever"
    )
    inference_recording: InferenceRecordingConfig = Field(
        default_factory=InferenceRecordingConfig,
        description="Whether model servers are asked, or what they once said is said again: for tests",
    )
    model_refresh_seconds: Seconds = Field(
        default=300, description="How often the providers are asked anew which models they have"
    )

    @field_validator("version")
    @classmethod
    def _version_is_known(cls, version: int) -> int:
        if version != CONFIG_VERSION:
            raise demand_error(f"{CONFIG_VERSION} (no other version is known)")
        return version

    @field_validator("providers")
    @classmethod
    def _providers_are_named_once(cls, providers: dict[str, list[ProviderEntry]]) -> dict[str, list[ProviderEntry]]:
        wrong = [
            problem
            for api, entries in providers.items()
            for problem in _named_twice([entry.provider_id for entry in entries], api, "provider_id")
        ]
        if wrong:
            raise located_errors(*wrong)
        return providers

    @field_validator("apis")
    @classmethod
    def _apis_have_providers(cls, apis: list[str], info: ValidationInfo) -> list[str]:
        providers = info.data.get("providers")
        wrong: list[tuple[KeyPath, str]] = []
        for position, api in enumerate(apis):
            if providers is not None and api not in providers:
                wrong.append(((position,), f"has no entry under providers: add providers.{api}"))
            elif api in apis[:position]:
                wrong.append(((position,), f"'{api}' stands there twice"))
        if wrong:
            raise located_errors(*wrong)
        return apis

    @field_validator("inference_recording")
    @classmethod
    def _one_process_records(
        cls, recording: InferenceRecordingConfig, info: ValidationInfo
    ) -> InferenceRecordingConfig:
        server: ServerConfig | None = info.data.get("server")
        if server is not None and (problem := recording_by_many(recording, server)):
            raise located_errors((("mode",), problem))
        return recording

    @field_validator("registered_resources")
    @classmethod
    def _resources_have_providers(cls, resources: RegisteredResources, info: ValidationInfo) -> RegisteredResources:
        providers: dict[str, list[ProviderEntry]] | None = info.data.get("providers")
        wrong = _named_twice([model.model_id for model in resources.models], "models", "model_id")
        wrong += _named_twice([group.tool_group_id for group in resources.tool_groups], "tool_groups", "tool_group_id")
        if providers is not None:
            named = {
                ("inference", "inference provider", "models"): [m.provider_id for m in resources.models],
                ("tool_runtime", "tool runtime", "tool_groups"): [g.provider_id for g in resources.tool_groups],
            }
            for (api, kind, group), provider_ids in named.items():
                known = [entry.provider_id for entry in providers.get(api, ())]
                wrong += [
                    ((group, position, "provider_id"), unknown_name(kind, provider_id, known))
                    for position, provider_id in enumerate(provider_ids)
                    if provider_id not in known
                ]
        if wrong:
            raise located_errors(*wrong)
        return resources


def _named_twice(names: list[str], group: str, key: str) -> list[tuple[KeyPath, str]]:
    return [
        ((group, position, key), f"'{name}' is named twice")
        for position, name in enumerate(names)
        if name in names[:position]
    ]
