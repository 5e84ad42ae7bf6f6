"""What each model name does."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

from scripted_model.answers import Answer, Step, delta, finish, text, tool_call
from scripted_model.strict import ChatRequest

PARIS = '{"city":"Paris"}'
ROME = '{"city":"Rome"}'
UNICODE_TEXT = 'é ü 漢字 👩‍👩‍👧 עברית \u2028 \u0000 "quoted" \\ end'


def gate_of(request: ChatRequest) -> str | None:
    found = re.search(r"\bgate=([\w.-]+)", request.last_user_text)
    return found and found[1]


def tag_in(words: str) -> str:
    found = re.findall(r"\btag=([\w.-]+)", words)
    return found[-1] if found else ""


def _words(words: str) -> tuple[Step, ...]:
    return text(*re.findall(r"\S+\s*", words))


def _echo(request: ChatRequest) -> Answer:
    return Answer(_words(f"seen={len(request.messages)} last={request.last_user_text}"))


def _unhurried(request: ChatRequest) -> Answer:
    """An echo that takes ``pace=<milliseconds>`` before each word."""
    found = re.search(r"\bpace=(\d+)", request.last_user_text)
    pause = Step("pause", int(found[1]) / 1000 if found else 0)
    return Answer(tuple(one for step in _echo(request).steps for one in (pause, step)))


def _system_first(request: ChatRequest) -> Answer:
    """A model whose chat template knows one system message, at the beginning (Qwen 3.5 to 3.8, on any server)."""
    if any(message.role in ("system", "developer") for message in request.messages[1:]):
        return _refusal(400, "Jinja Exception: System message must be at the beginning.")
    return _echo(request)


def _said_by_tools(request: ChatRequest) -> Answer:
    return Answer(_words(f"The tools said: {' | '.join(request.outputs)}"))


def _function(request: ChatRequest, position: int = 0) -> str:
    if not isinstance(request.tool_choice, str):
        return request.tool_choice.function.name
    return request.tools[position % len(request.tools)].function.name


def _calling(*steps: Step | Callable[[ChatRequest], tuple[Step, ...]]) -> Callable[[ChatRequest], Answer]:
    """Calls tools when some are offered, and answers in words once they have."""

    def mode(request: ChatRequest) -> Answer:
        if request.outputs:
            return _said_by_tools(request)
        if not request.tools or request.tool_choice == "none":
            return Answer(_words("No tools were offered."))
        made = [step(request) if callable(step) else (step,) for step in steps]
        return Answer((*(one for some in made for one in some), finish("tool_calls")))

    return mode


def _one_call(request: ChatRequest) -> tuple[Step, ...]:
    return tool_call(0, "call_paris", _function(request), PARIS[:8], PARIS[8:])


def _two_calls(request: ChatRequest) -> tuple[Step, ...]:
    first = tool_call(0, "call_paris", _function(request), PARIS[:4], PARIS[4:9], PARIS[9:])
    second = tool_call(1, "call_rome", _function(request, 1), ROME[:4], ROME[4:9], ROME[9:])
    return tuple(step for pair in zip(first, second, strict=True) for step in pair)


def _whole_call(request: ChatRequest) -> tuple[Step, ...]:
    call = {"id": "call_whole", "type": "function", "function": {"name": _function(request), "arguments": PARIS}}
    return (delta(tool_calls=[call]),)


def _call_without_id(request: ChatRequest) -> tuple[Step, ...]:
    call = {"index": 0, "type": "function", "function": {"name": _function(request), "arguments": PARIS}}
    return (delta(tool_calls=[call]),)


def _call_with_bad_arguments(request: ChatRequest) -> tuple[Step, ...]:
    return tool_call(0, "call_bad", _function(request), '{"city":')


def _logprobs(request: ChatRequest) -> Answer:
    def token(word: str) -> Step:
        chance = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
        return delta(content=word, logprobs={"content": [chance | {"top_logprobs": [chance]}], "refusal": None})

    return Answer((token("Hello"), token(" there"), finish()))


def _slow(request: ChatRequest) -> Answer:
    gate = gate_of(request)
    if gate is None:
        return _refusal(400, "the model 'slow' needs gate=<name> in the last user text", "messages")
    return Answer((delta(content="before "), Step("gate", gate), delta(content="after"), finish()))


def _hang(*before: Step) -> Callable[[ChatRequest], Answer]:
    return lambda request: Answer((*before, Step("hang", gate_of(request))))


def _refusal(status: int, message: str, param: str | None = None, code: str | None = None, **headers: str) -> Answer:
    kind = {400: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}.get(status, "server_error")
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Answer(status=status, headers=headers, body=json.dumps({"error": error}))


def _fixed(answer: Answer) -> Callable[[ChatRequest], Answer]:
    return lambda request: answer


def _garbage(request: ChatRequest) -> Answer:
    if request.stream:
        return Answer((Step("raw", "data: \ufffd\ufffd not json\n\n"),))
    return Answer(body='{"choices": [{]')


_BEGINNING = (delta(content="Once "), delta(content="upon "))

MODES: dict[str, Callable[[ChatRequest], Answer]] = {
    "echo": _echo,
    "unhurried": _unhurried,
    "system-first": _system_first,
    # tools
    "tool": _calling(_one_call),
    "parallel-tools": _calling(_two_calls),
    "text-and-tool": _calling(delta(content="Let me "), delta(content="look."), _one_call),
    "reasoning-tool": _calling(delta(reasoning_content="I need the weather."), _one_call),
    "tool-no-id": _calling(_call_without_id),
    "tool-whole": _calling(_whole_call),
    "tool-bad-arguments": _calling(_call_with_bad_arguments),
    # kinds of output
    "reasoning": _fixed(
        Answer((delta(reasoning_content="Let me "), delta(reasoning_content="think."), *text("4", "2")))
    ),
    "reasoning-alt": _fixed(Answer((delta(reasoning="Let me "), delta(reasoning="think."), *text("4", "2")))),
    "refusal": _fixed(Answer((delta(refusal="I'm sorry, "), delta(refusal="I can't help with that."), finish()))),
    "length": _fixed(Answer((*_BEGINNING, finish("length")))),
    "content-filter": _fixed(Answer((*_BEGINNING, finish("content_filter")))),
    "json": _fixed(Answer(text('{"city":', '"Paris",', '"n":1}'))),
    "empty": _fixed(Answer((finish(),))),
    "unicode": _fixed(Answer(text(*UNICODE_TEXT), write_bytes=7)),
    "logprobs": _logprobs,
    "no-usage": _fixed(Answer(text("No ", "usage."), usage=False)),
    # pauses
    "slow": _slow,
    "hang": _hang(),
    "hang-mid": _hang(*_BEGINNING),
    # refusals
    "status-400": _fixed(_refusal(400, "Invalid 'temperature': too hot.", "temperature", "invalid_value")),
    "status-401": _fixed(_refusal(401, "Incorrect API key provided: sk-secret.", code="invalid_api_key")),
    "status-403": _fixed(_refusal(403, "Country not supported.", code="unsupported_country")),
    "status-404": _fixed(_refusal(404, "The model 'status-404' does not exist.", "model", "model_not_found")),
    "status-429": _fixed(
        _refusal(429, "Rate limit reached.", code="rate_limit_exceeded", **{"Retry-After": "7"}),
    ),
    "quota": _fixed(_refusal(429, "You exceeded your current quota.", code="insufficient_quota")),
    "status-500": _fixed(_refusal(500, "The server had an error.")),
    "status-503": _fixed(_refusal(503, "The engine is overloaded.", code="overloaded")),
    "html": _fixed(Answer(body="<html><body>Welcome</body></html>", content_type="text/html")),
    "html-502": _fixed(Answer(status=502, body="<html>Bad Gateway</html>", content_type="text/html")),
    "redirect": _fixed(Answer(status=307, headers={"Location": "/elsewhere"}, body="", content_type="text/plain")),
    "error-200": _fixed(Answer(body='{"error": {"message": "Upstream is down.", "code": 502}}')),
    "empty-body": _fixed(Answer(body="")),
    # broken answers
    "garbage": _garbage,
    "garbage-mid": _fixed(Answer((*_BEGINNING, Step("raw", 'data: {"choices": [\n\n'), finish()))),
    "error-mid": _fixed(Answer((*_BEGINNING, Step("chunk", {"error": {"message": "The GPU is gone.", "code": 500}})))),
    "limit-mid": _fixed(
        Answer((*_BEGINNING, Step("chunk", {"error": {"message": "Too fast.", "type": "rate_limit_error"}})))
    ),
    "drop": _fixed(Answer((Step("drop"),))),
    "drop-mid": _fixed(Answer((*_BEGINNING, Step("drop")))),
    "no-done": _fixed(Answer(text("All ", "said."), done=False)),
    "cut-short": _fixed(Answer(_BEGINNING, done=False)),
}

FLAKY_FAILURES = 2
MODELS = (*MODES, "flaky", "scripted")


class Director:
    """Chooses the answers: by mode, and for ``flaky`` and ``scripted`` by what came before under the same tag."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()
        self._scripts: dict[str, list[Answer]] = {}

    def script(self, tag: str, answers: list[Answer]) -> None:
        """Queue answers for the model ``scripted``."""
        self._scripts.setdefault(tag, []).extend(answers)

    def scripted(self, tag: str) -> Answer:
        """The next answer for the model ``scripted``."""
        queue = self._scripts.get(tag)
        return queue.pop(0) if queue else _refusal(500, f"Nothing is scripted for tag '{tag}'.")

    def answer(self, request: ChatRequest) -> Answer:
        if request.model == "scripted":
            return self.scripted(tag_in(request.last_user_text))
        if request.model == "flaky":
            self._failures[request.last_user_text] += 1
            if self._failures[request.last_user_text] <= FLAKY_FAILURES:
                return _refusal(503, "The engine is overloaded.")
            return _echo(request)
        mode = MODES.get(request.model)
        if mode is None:
            return _refusal(404, f"The model '{request.model}' does not exist.", "model", "model_not_found")
        return mode(request)
