"""Configuration: run.yaml, the environment put into it, and the settings' models."""

from llama_conversations.config.adhoc import KnownProvider, SampledConfig, adhoc_run_config
from llama_conversations.config.distributions import Distribution, find_distribution, list_distributions
from llama_conversations.config.findings import Finding, KeyPath, config_error
from llama_conversations.config.loader import LoadedConfig, load_run_config
from llama_conversations.config.masking import mask_secrets
from llama_conversations.config.postgres_backend import PostgresBackend
from llama_conversations.config.run_config import (
    Backend,
    CorsConfig,
    InferenceRecordingConfig,
    LimitsConfig,
    ModelResource,
    ProviderEntry,
    RegisteredResources,
    RetentionConfig,
    ServerConfig,
    SqliteBackend,
    StackRunConfig,
    StorageConfig,
    StoreReference,
    StoresConfig,
    TurnsConfig,
)
from llama_conversations.config.settings import SettingsModel, parse_settings
from llama_conversations.config.substitution import SkippedModel, SkippedProvider

__all__ = [
    "Backend",
    "CorsConfig",
    "Distribution",
    "Finding",
    "InferenceRecordingConfig",
    "KeyPath",
    "KnownProvider",
    "LimitsConfig",
    "LoadedConfig",
    "ModelResource",
    "PostgresBackend",
    "ProviderEntry",
    "RegisteredResources",
    "RetentionConfig",
    "SampledConfig",
    "ServerConfig",
    "SettingsModel",
    "SkippedModel",
    "SkippedProvider",
    "SqliteBackend",
    "StackRunConfig",
    "StorageConfig",
    "StoreReference",
    "StoresConfig",
    "TurnsConfig",
    "adhoc_run_config",
    "config_error",
    "find_distribution",
    "list_distributions",
    "load_run_config",
    "mask_secrets",
    "parse_settings",
]
