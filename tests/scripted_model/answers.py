"""What the model server does in answer to one request, step by step; the same steps make the plain answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["delta", "finish", "chunk", "raw", "gate", "pause", "hang", "drop"]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of an answer.

    ``delta``: a chunk with this delta (and, under the key ``logprobs``, its log probabilities). ``finish``: the chunk
    with this finish_reason. ``chunk``: this whole chunk, as it stands. ``raw``: these characters. ``gate``: wait until
    the gate of this name is opened. ``pause``: take so many seconds. ``hang``: wait until the client goes; the value
    names a gate that is then reached. ``drop``: close the connection.
    """

    kind: Kind
    value: Any = None


def delta(**fields: object) -> Step:
    return Step("delta", fields)


def finish(reason: str = "stop") -> Step:
    return Step("finish", reason)


def text(*pieces: str) -> tuple[Step, ...]:
    """An ordinary text answer."""
    return (*(delta(content=piece) for piece in pieces), finish())


def tool_call(index: int, call_id: str, name: str, *arguments: str) -> tuple[Step, ...]:
    """One function call, its arguments in pieces."""
    head = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    rest = ({"index": index, "function": {"arguments": piece}} for piece in arguments)
    return tuple(delta(tool_calls=[call]) for call in (head, *rest))


@dataclass(frozen=True)
class Answer:
    """An answer of steps, or, where ``body`` is given, a fixed one whether streaming was asked for or not.

    Attributes:
        done: Whether a stream ends in ``[DONE]``.
        usage: Whether the usage is told.
        write_bytes: Writes a stream in pieces of that many bytes, wherever they cut it.
    """

    steps: tuple[Step, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    content_type: str = "application/json"
    done: bool = True
    usage: bool = True
    write_bytes: int | None = None

    def to_json(self) -> JsonObject:
        return asdict(self)

    @classmethod
    def from_json(cls, value: JsonObject) -> Answer:
        return cls(steps=tuple(Step(**step) for step in value.pop("steps")), **value)


@dataclass(frozen=True)
class Head:
    """What all chunks of an answer share."""

    id: str
    model: str
    created: int

    def chunk(self, choices: list[JsonObject], **more: object) -> JsonObject:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": "fp_scripted",
            "choices": choices,
            **more,
        }


def stream_chunks(head: Head, answer: Answer, usage: JsonObject | None) -> Iterator[Step]:
    """The steps with whole chunks for deltas and finishes, the role before them, the usage after, where it is given."""
    more = {} if usage is None else {"usage": None}

    def chunk(delta: JsonObject, reason: object = None, logprobs: object = None) -> Step:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return Step("chunk", head.chunk([choice], **more))

    opened = False
    for step in answer.steps:
        if step.kind in {"delta", "finish"} and not opened:
            opened = True
            calls_first = isinstance(step.value, dict) and "tool_calls" in step.value
            yield chunk({"role": "assistant", "content": None if calls_first else ""})
        if step.kind == "delta":
            fields = dict(step.value)
            logprobs = fields.pop("logprobs", None)
            yield chunk(fields, logprobs=logprobs)
        elif step.kind == "finish":
            yield chunk({}, step.value)
        else:
            yield step
    if usage is not None:
        yield Step("chunk", head.chunk([], usage=usage))


def plain_completion(head: Head, answer: Answer, usage: JsonObject) -> JsonObject:
    """The same answer in one piece."""
    pieces: dict[str, list[str]] = {}
    calls: dict[int, JsonObject] = {}
    logprobs: list[JsonObject] = []
    reason = None
    for step in answer.steps:
        if step.kind == "finish":
            reason = step.value
        elif step.kind == "delta":
            fields = dict(step.value)
            logprobs += (fields.pop("logprobs", None) or {}).get("content", [])
            _merge_calls(calls, fields.pop("tool_calls", ()))
            for name, piece in fields.items():
                pieces.setdefault(name, []).append(piece)
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    message |= {name: "".join(parts) for name, parts in pieces.items()}
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": reason,
    }
    completion = head.chunk([choice]) | {"object": "chat.completion"}
    return completion | {"usage": usage} if answer.usage else completion


def _merge_calls(calls: dict[int, JsonObject], pieces: Iterable[JsonObject]) -> None:
    for position, piece in enumerate(pieces):
        rest = {name: value for name, value in piece.items() if name not in {"index", "function"}}
        call = calls.setdefault(piece.get("index", position), {"function": {"name": "", "arguments": ""}})
        call.update(rest)
        for name, value in piece["function"].items():
            call["function"][name] += value
