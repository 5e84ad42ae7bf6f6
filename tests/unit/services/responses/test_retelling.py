"""A stream told from a stored response: citations stand where the model's text was told first."""

from __future__ import annotations

import orjson

from harness.event_stream import JsonObject, check_stream, read_frames
from llama_conversations.services.responses.retelling import retold

CITED = {"type": "url_citation", "start_index": 0, "end_index": 4, "url": "https://a.org", "title": "A"}


def test_citations_are_told_again_before_their_text_is_done() -> None:
    parts: list[JsonObject] = [
        {"type": "output_text", "text": "None.", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "No."},
        {"type": "output_text", "text": "Here.", "annotations": [CITED], "logprobs": []},
    ]
    message = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": parts}
    body = {
        "id": "resp_1",
        "status": "completed",
        "completed_at": 1,
        "error": None,
        "incomplete_details": None,
        "usage": None,
        "output": [message],
    }
    events = read_frames(retold(orjson.dumps(body)))
    assert check_stream(events) == body
    told = [event["annotation"] for event in events if event["type"] == "response.output_text.annotation.added"]
    assert told == [CITED]
