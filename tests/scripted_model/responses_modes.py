"""What each model name does when asked in the Responses API; names that ``modes`` has as well mean the same."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable

from scripted_model.answers import Answer, Head, JsonObject, Step, plain_completion
from scripted_model.modes import FLAKY_FAILURES, MODES, PARIS, ROME, gate_of
from scripted_model.responses_answers import Reply
from scripted_model.responses_strict import ResponsesRequest

SUMMARY = "The user wants a number."
SEARCHED = "Paris is sunny today."
CITATION = {
    "type": "url_citation",
    "url": "https://weather.example/paris",
    "start_index": 0,
    "end_index": 5,
    "title": "Weather in Paris",
}
GONE = {"code": "server_error", "message": "The GPU is gone."}
TOO_FAST = {"code": "rate_limit_exceeded", "message": "Too fast."}

_ENCRYPTED = "reasoning.encrypted_content"


class ResponsesDirector:
    """Chooses the answers, and knows the ids and encrypted contents that it gave out."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._failures: Counter[str] = Counter()
        self.issued: set[str] = set()

    def reply(self, request: ResponsesRequest) -> Reply:
        """What the request's model says to it."""
        mode = _OWN_MODES.get(request.model)
        if mode is not None:
            return mode(self, request)
        if request.model == "flaky":
            self._failures[request.last_user_text] += 1
            failing = self._failures[request.last_user_text] <= FLAKY_FAILURES
            return Reply(fixed=_refusal(503, "The engine is overloaded.")) if failing else _echo(self, request)
        fixed = MODES[request.model](request) if request.model in _FIXED else None  # type: ignore[arg-type]
        if fixed is None:
            fixed = _refusal(404, f"The model '{request.model}' does not exist.", "model_not_found")
        return Reply(fixed=fixed)

    def item(self, prefix: str, item_type: str, **fields: object) -> JsonObject:
        """An item with an id that was never used."""
        return {"id": self.issue(f"{prefix}_up"), "type": item_type, **fields}

    def issue(self, stem: str) -> str:
        """A text that is never given out again."""
        name = f"{stem}{next(self._numbers)}"
        self.issued.add(name)
        return name

    def message(self, text: str, *annotations: JsonObject, status: str = "completed") -> JsonObject:
        part = {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}
        return self.item("msg", "message", status=status, role="assistant", content=[part])

    def call(self, request: ResponsesRequest, position: int = 0) -> JsonObject:
        functions = [tool for tool in request.tools if tool["type"] == "function"]
        called = functions[position % len(functions)]["name"]
        call_id, arguments = [("call_paris", PARIS), ("call_rome", ROME)][position]
        return self.item("fc", "function_call", status="completed", call_id=call_id, name=called, arguments=arguments)

    def thoughts(self, request: ResponsesRequest) -> JsonObject:
        item = self.item("rs", "reasoning", summary=[{"type": "summary_text", "text": SUMMARY}])
        return item | ({"encrypted_content": self.issue("enc-")} if _ENCRYPTED in request.include else {})


def _refusal(status: int, message: str, code: str | None = None) -> Answer:
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return Answer(status=status, body=json.dumps({"error": error}))


def scripted_reply(director: ResponsesDirector, answer: Answer) -> Reply:
    """A scripted answer as the Responses API says it: thoughts, then text, then calls."""
    if answer.body is not None:
        return Reply(fixed=answer)
    [choice] = plain_completion(Head("", "", 0), answer, {})["choices"]
    said, items = choice["message"], []
    if "reasoning_content" in said:
        summary = [{"type": "summary_text", "text": said["reasoning_content"]}]
        items.append(director.item("rs", "reasoning", summary=summary, encrypted_content=director.issue("enc-")))
    if said["content"]:
        items.append(director.message(said["content"]))
    items += [
        director.item("fc", "function_call", status="completed", call_id=call["id"], **call["function"])
        for call in said.get("tool_calls", ())
    ]
    cut = next((step for step in answer.steps if step.kind in {"gate", "hang", "drop"}), None)
    return Reply(tuple(items), cut=cut)


_FIXED = [name for name in MODES if name.startswith(("status-", "html", "quota", "error-200", "empty-body"))]

Mode = Callable[[ResponsesDirector, ResponsesRequest], Reply]


def _echo(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    return Reply((director.message(f"seen={len(request.items)} last={request.last_user_text}"),))


def _calling(calls: int, *, thinking: bool = False) -> Mode:
    def mode(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
        if request.outputs:
            return Reply((director.message(f"The tools said: {' | '.join(request.outputs)}"),))
        if not request.tools or request.tool_choice == "none":
            return Reply((director.message("No tools were offered."),))
        thoughts = (director.thoughts(request),) if thinking else ()
        return Reply((*thoughts, *(director.call(request, position) for position in range(calls))))

    return mode


def _custom(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    if request.outputs:
        return Reply((director.message(f"The tools said: {' | '.join(request.outputs)}"),))
    name = next(tool["name"] for tool in request.tools if tool["type"] == "custom")
    call = {"status": "completed", "call_id": director.issue("call_"), "name": name, "input": "print(1)"}
    return Reply((director.item("ctc", "custom_tool_call", **call),))


def _reasoning(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    return Reply((director.thoughts(request), director.message("42")))


def _refused(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    part = {"type": "refusal", "refusal": "I'm sorry, I can't help with that."}
    return Reply((director.item("msg", "message", status="completed", role="assistant", content=[part]),))


def _hosted(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    if not any(tool["type"].startswith("web_search") for tool in request.tools):
        return Reply((director.message("No search was offered."),))
    action = {"type": "search", "query": "weather in Paris", "sources": [{"type": "url", "url": CITATION["url"]}]}
    search = director.item("ws", "web_search_call", status="completed", action=action)
    return Reply((search, director.message(SEARCHED, CITATION)))


def _all_hosted(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    """Uses every other tool that a server hosts."""
    made = {"status": "completed"}
    ran = {"container_id": "cntr_1", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]}
    found = {"queries": ["q"], "results": [{"file_id": "file_1", "text": "found", "score": 0.5}]}
    return Reply(
        (
            director.item("fs", "file_search_call", **made, **found),
            director.item("ci", "code_interpreter_call", **made, **ran),
            director.item("ig", "image_generation_call", **made, result="aGVsbG8="),
            director.message("Done."),
        )
    )


def _searching(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    """Calls a function for searches with what the user says, and repeats what it answers."""
    if request.outputs:
        return Reply((director.message(f"It says: {request.outputs[-1]}"),))
    arguments = json.dumps({"query": request.last_user_text})
    call = {"status": "completed", "call_id": director.issue("call_"), "name": "web_search", "arguments": arguments}
    return Reply((director.item("fc", "function_call", **call),))


def _cut_off(reason: str) -> Mode:
    return lambda director, _: Reply((director.message("Once upon", status="incomplete"),), reason=reason)


def _interrupted(step: Step | None) -> Mode:
    def mode(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
        return Reply((director.message("Once upon "),), cut=step or Step("hang", gate_of(request)))

    return mode


def _failed(error: JsonObject) -> Mode:
    failed = {"status": "failed", "error": error, "output": []}
    return _interrupted(Step("chunk", {"type": "response.failed", "response": failed}))


def _slow(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    return Reply((director.message("before after"),), cut=Step("gate", gate_of(request)))


def _no_ids(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    items = (director.thoughts(request), director.message("42"))
    return Reply(tuple({key: value for key, value in item.items() if key != "id"} for item in items))


def _odd_ids(director: ResponsesDirector, request: ResponsesRequest) -> Reply:
    """One that is the same every time, one of another type, one that is too long."""
    texts = {"msg_same": "one", "item_1": "two", "msg_" + "x" * 100: "three"}
    return Reply(tuple(director.message(text) | {"id": item_id} for item_id, text in texts.items()))


_OWN_MODES: dict[str, Mode] = {
    "echo": _echo,
    "tool": _calling(1),
    "parallel-tools": _calling(2),
    "reasoning-tool": _calling(1, thinking=True),
    "custom": _custom,
    "reasoning": _reasoning,
    "refusal": _refused,
    "hosted": _hosted,
    "all-hosted": _all_hosted,
    "searching": _searching,
    "length": _cut_off("max_output_tokens"),
    "content-filter": _cut_off("content_filter"),
    "slow": _slow,
    "hang-mid": _interrupted(None),
    "error-mid": _interrupted(Step("chunk", {"type": "error", **GONE, "param": None})),
    "limit-mid": _failed(TOO_FAST),
    "drop-mid": _interrupted(Step("drop")),
    "no-terminal": lambda director, _: Reply((director.message("All said."),), terminal=False),
    "terminal-only": lambda director, _: Reply((director.message("All said."),), events=False),
    "no-ids": _no_ids,
    "odd-ids": _odd_ids,
    "unknown-item": lambda director, _: Reply((director.item("tp", "telepathy_call", status="completed"),)),
}

RESPONSES_MODELS = tuple(_OWN_MODES)
