"""Values of a configuration that remember how they were written, so that no later step has to guess.

Each of them is an ordinary ``int``, ``float`` or ``str`` to whoever does not ask.
"""

from __future__ import annotations

from typing import Self


class WrittenInt(int):
    """A whole number from a file; ``str()`` gives the text as it stood there."""

    text: str

    def __new__(cls, text: str) -> Self:
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number from a file; ``str()`` gives the text as it stood there, such as ``1.10``."""

    text: str

    def __new__(cls, text: str) -> Self:
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __str__(self) -> str:
        return self.text


class EnvText(str):
    """A text that came about by substitution; ``template`` is what stands in the file, such as ``${env.PORT:=80}``.

    An error message quotes the template, because the text may be a secret.
    """

    __slots__ = ("template",)

    template: str

    def __new__(cls, text: str, template: str) -> Self:
        value = super().__new__(cls, text)
        value.template = template
        return value

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # it has one argument more than a str
        """By what a copy is made; a configuration is handed to other processes."""
        return str(self), self.template
