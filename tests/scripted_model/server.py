"""The HTTP side: chat completions, responses, models, and the controls under ``/control``."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web

from scripted_model.answers import Answer, Head, JsonObject, Step, plain_completion, stream_chunks
from scripted_model.journal import Entry, Journal
from scripted_model.modes import MODELS, Director, tag_in
from scripted_model.responses_answers import Reply, failed_response, response_events, whole_response
from scripted_model.responses_modes import GONE, RESPONSES_MODELS, ResponsesDirector, scripted_reply
from scripted_model.responses_strict import read_responses_request
from scripted_model.strict import ChatRequest, Invalid, read_request

CREATED = 1_700_000_000

ALL_MODELS = tuple(dict.fromkeys((*MODELS, *RESPONSES_MODELS)))
"""In the order in which they are listed."""
MAX_BODY = 256 * 1024 * 1024


class Dropped(Exception):
    """The script says to close the connection."""


class ModelServer:
    """Routes and state."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._director = Director()
        self._responses_director = ResponsesDirector()
        self._ids = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/responses", self.responses)
        app.router.add_post("/tokenize", self.tokenize)
        app.router.add_get("/control/requests", self.requests)
        app.router.add_post("/control/script", self.script)
        app.router.add_post("/control/gates/{name}/open", self.open_gate)
        app.router.add_get("/control/gates/{name}/reached", self.wait_for_gate)
        return app

    async def models(self, request: web.Request) -> web.Response:
        self._journal.entries.append(Entry(request.path, dict(request.headers), "", status=200, outcome="complete"))
        data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "scripted"} for name in ALL_MODELS]
        return web.json_response({"object": "list", "data": data})

    async def tokenize(self, request: web.Request) -> web.Response:
        """As vLLM: the tokens of a chat completion's messages, here their words."""
        entry = Entry(request.path, dict(request.headers), await request.text(), status=200, outcome="complete")
        self._journal.entries.append(entry)
        entry.body = body = json.loads(entry.raw)
        entry.model, entry.tag = body["model"], tag_in(entry.raw)
        try:
            chat = read_request(body)
        except Invalid as error:
            return self._invalid(entry, error)
        if chat.model.startswith("status-"):
            entry.status = 500
            return web.json_response({"error": "no tokenizer"}, status=500)
        if chat.model == "hang":
            await asyncio.Event().wait()
        words = sum(len(message.model_dump_json().split()) for message in chat.messages) + len(chat.tools)
        return web.json_response({"count": words, "max_model_len": 4096, "tokens": list(range(words))})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """``POST /v1/chat/completions``."""
        return await self._serve(request, self._answer)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        """``POST /v1/responses``."""
        return await self._serve(request, self._respond)

    async def _serve(
        self, request: web.Request, answer: Callable[[web.Request, Entry], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        entry = Entry(request.path, dict(request.headers), await request.text())
        self._journal.entries.append(entry)
        try:
            response = await answer(request, entry)
            if entry.outcome == "running":
                entry.outcome = "complete"
        except Dropped:
            entry.outcome = "dropped"
            assert request.transport is not None
            request.transport.close()
            return web.Response()  # goes nowhere
        except (asyncio.CancelledError, ConnectionError):
            entry.outcome = "disconnected"
            raise
        finally:
            await asyncio.shield(self._journal.note())
        return response

    async def _answer(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        try:
            chat = read_request(_read_json(entry))
        except Invalid as error:
            return self._invalid(entry, error)
        entry.tag = tag_in(chat.last_user_text)
        answer = self._director.answer(chat)
        entry.status = answer.status
        if answer.body is not None:
            return _fixed(answer)
        head = Head(f"chatcmpl-{next(self._ids)}", chat.model, CREATED)
        if chat.stream:
            return await self._stream(request, entry, answer, stream_chunks(head, answer, _stream_usage(chat, answer)))
        return await self._plain(request, answer, plain_completion(head, answer, _usage(chat, answer)))

    async def _respond(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        try:
            asked = read_responses_request(_read_json(entry), self._responses_director.issued)
        except Invalid as error:
            return self._invalid(entry, error)
        entry.tag = tag_in(asked.last_user_text) or entry.tag
        if asked.model == "scripted":
            reply = scripted_reply(self._responses_director, self._director.scripted(entry.tag))
        else:
            reply = self._responses_director.reply(asked)
        entry.status = 200 if reply.fixed is None else reply.fixed.status
        if reply.fixed is not None:
            return _fixed(reply.fixed)
        head = {"id": f"resp_up{next(self._ids)}", "object": "response", "created_at": CREATED, "model": asked.model}
        if asked.stream:
            return await self._stream(request, entry, Answer(done=False), response_events(head, reply))
        return await self._whole_response(request, reply, head)

    async def _whole_response(self, request: web.Request, reply: Reply, head: JsonObject) -> web.StreamResponse:
        cut = () if reply.cut is None else (reply.cut,)
        response = whole_response(head, reply)
        if not reply.terminal:
            del response["output"]
        if cut and cut[0].kind == "chunk":
            said = cut[0].value.get("response", {}).get("error", GONE)
            return web.json_response(failed_response(head, said))
        steps = (Step("delta"), *cut) if cut else ()
        return await self._plain(request, Answer(steps), response)

    @staticmethod
    def _invalid(entry: Entry, error: Invalid) -> web.Response:
        entry.status = 400
        shape = {"message": error.message, "type": "invalid_request_error", "param": error.param, "code": error.code}
        return web.json_response({"error": shape}, status=400)

    async def _stream(
        self, request: web.Request, entry: Entry, answer: Answer, steps: Iterator[Step]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **answer.headers})
        if not answer.steps or answer.steps[0].kind not in {"drop", "hang"}:
            await response.prepare(request)
        for step in steps:
            if step.kind in {"chunk", "raw"}:
                written = (
                    step.value if step.kind == "raw" else f"data: {json.dumps(step.value, ensure_ascii=False)}\n\n"
                )
                await self._write(response, written.encode(), answer.write_bytes)
                entry.chunks += 1
            else:
                await self._pause(step)
        if answer.done:
            await self._write(response, b"data: [DONE]\n\n", answer.write_bytes)
        await response.write_eof()
        return response

    async def _plain(self, request: web.Request, answer: Answer, completion: JsonObject) -> web.StreamResponse:
        body = json.dumps(completion, ensure_ascii=False).encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", **answer.headers})
        response.content_length = len(body)
        for step in answer.steps:
            if step.kind == "drop" and len(answer.steps) > 1:
                await response.prepare(request)
                await response.write(body[: len(body) // 2])
            if step.kind == "raw":
                return web.Response(body=str(step.value), content_type="application/json")
            if step.kind == "chunk":  # an error in mid-stream is a failure of the whole in a plain answer
                return web.json_response(step.value, status=500)
            await self._pause(step)
        await response.prepare(request)
        await response.write(body)
        return response

    async def _pause(self, step: Step) -> None:
        if step.kind == "gate":
            await self._journal.pass_gate(str(step.value))
        elif step.kind == "pause":
            await asyncio.sleep(float(step.value))
        elif step.kind == "hang":
            if step.value is not None:
                self._journal.gate(str(step.value)).reached = True
                await self._journal.note()
            await asyncio.Event().wait()
        elif step.kind == "drop":
            raise Dropped

    @staticmethod
    async def _write(response: web.StreamResponse, data: bytes, piece: int | None) -> None:
        if piece is None:
            await response.write(data)
            return
        for start in range(0, len(data), piece):
            await response.write(data[start : start + piece])
            await asyncio.sleep(0)

    async def requests(self, request: web.Request) -> web.Response:
        """Journal entries; waits until there are ``count`` of them, with ``ended=1`` until all have an outcome."""
        query = request.query
        count, must_end = int(query.get("count", 0)), query.get("ended") == "1"

        def found() -> list[Entry]:
            return self._journal.matching(query.get("model"), query.get("tag"))

        def holds() -> bool:
            entries = found()
            return len(entries) >= count and not (must_end and any(entry.outcome == "running" for entry in entries))

        in_time = await self._journal.wait(holds, float(query.get("timeout", 10)))
        return web.json_response([Journal.to_json(entry) for entry in found()], status=200 if in_time else 408)

    async def script(self, request: web.Request) -> web.Response:
        """``{"tag": …, "answers": […]}``: queue answers for the model ``scripted``."""
        order = await request.json()
        self._director.script(order.get("tag", ""), [Answer.from_json(answer) for answer in order["answers"]])
        return web.json_response({})

    async def open_gate(self, request: web.Request) -> web.Response:
        """Let through whoever waits at a gate, and whoever comes later."""
        self._journal.gate(request.match_info["name"]).opened = True
        await self._journal.note()
        return web.json_response({})

    async def wait_for_gate(self, request: web.Request) -> web.Response:
        """Wait until an answer has reached a gate."""
        gate = self._journal.gate(request.match_info["name"])
        in_time = await self._journal.wait(lambda: gate.reached, float(request.query.get("timeout", 10)))
        return web.json_response({}, status=200 if in_time else 408)


def _read_json(entry: Entry) -> object:
    """The body, noted in the journal. Raises ``Invalid``."""
    try:
        entry.body = json.loads(entry.raw)
    except json.JSONDecodeError as error:
        raise Invalid(f"We could not parse the JSON body of your request: {error}") from error
    if isinstance(entry.body, dict):
        entry.model, entry.tag = entry.body.get("model"), tag_in(entry.raw)
    return entry.body


def _fixed(answer: Answer) -> web.Response:
    return web.Response(
        text=answer.body, status=answer.status, headers=answer.headers, content_type=answer.content_type
    )


def _usage(chat: ChatRequest, answer: Answer) -> JsonObject:
    read = sum(len(message.model_dump_json().split()) for message in chat.messages)
    written = sum(step.kind == "delta" for step in answer.steps)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _stream_usage(chat: ChatRequest, answer: Answer) -> JsonObject | None:
    asked = chat.stream_options is not None and chat.stream_options.include_usage
    return _usage(chat, answer) if asked and answer.usage else None
