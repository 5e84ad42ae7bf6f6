"""What the package offers; found by its entry point. The implementation is imported only when a stack uses it."""

from __future__ import annotations

from llama_conversations.stack.provider_spec import ProviderConfig, ProviderSpec


class EchoConfig(ProviderConfig):
    """Settings of the echo.

    Attributes:
        greeting: What every answer begins with.
        models: Names of the models that it offers.
    """

    greeting: str
    models: tuple[str, ...] = ("parrot",)

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        return {"greeting": "${env.ECHO_GREETING:=You said: }"}


def provider_specs() -> list[ProviderSpec]:
    return [
        ProviderSpec(
            api="inference",
            provider_type="inline::echo",
            config_class=EchoConfig,
            factory="echo_provider.inference:make",
            description="Says what it was told",
            pip_packages=("pydantic",),
        )
    ]
