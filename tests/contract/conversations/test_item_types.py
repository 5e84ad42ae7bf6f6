"""Every type of item comes back as it went in; ``include`` shows what is hidden otherwise."""

from __future__ import annotations

import json

import pytest

from harness.answers import ok, refused
from harness.conversations import create, ids_of, items_of
from llama_conversations.wire.items import INCLUDABLE, ITEM_TYPES
from unit.wire.item_samples import ALL, INPUT_FILE, INPUT_IMAGE, LOGPROB, OUTPUT_TEXT, REQUIRED

EVERYTHING = {"include[]": list(INCLUDABLE)}
EXTRA = {
    "float": 1.5,
    "one": 1.0,
    "negative zero": -0.0,
    "tiny": 5e-324,
    "big": 2**70,
    "text": 'é "\\/\u2028\x00\x1f\x7f\ufeff🦙',
    "nested": [[{}], [], None, True, False, {"": {"deep": [1]}}],
    "": "",
}


def name_of(item):
    return item["type"]


def written(value):
    """Text that tells ``1`` from ``1.0`` and ``true``, whatever the order of the keys."""
    return json.dumps(value, sort_keys=True)


def missing(sent, got, path="item"):
    """Paths of what was sent and did not come back as it was; what came back may have more keys."""
    if isinstance(sent, dict) and isinstance(got, dict):
        return [fault for key, value in sent.items() for fault in missing(value, got.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        return [fault for n, pair in enumerate(zip(sent, got, strict=True)) for fault in missing(*pair, f"{path}[{n}]")]
    return [] if written(sent) == written(got) else [f"{path}: sent {sent!r}, got {got!r}"]


def with_extras(item):
    """The item with fields that nobody knows, in it and in its parts."""
    item = item | {"x_extra": EXTRA, "created_by": "me"}
    if isinstance(item.get("content"), list):
        item["content"] = [part | {"x_extra": EXTRA} for part in item["content"]]
    return item


def views(http, conversation, item_id, query):
    """The bytes of an item as each route serves it."""
    url = f"/conversations/{conversation}/items"
    one = http.get(f"{url}/{item_id}", params=query).content
    listed = http.get(url, params=query).content
    assert one in listed
    return one


def test_there_are_28_types_that_can_be_stored():
    assert {kind for kind, known in ITEM_TYPES.items() if known.storable} == set(REQUIRED)
    assert len(REQUIRED) == 28


@pytest.mark.parametrize("item", ALL, ids=name_of)
def test_an_item_with_unknown_fields_comes_back_as_it_went_in(http, item):
    sent = with_extras(item)
    conversation = create(http)
    url = f"/conversations/{conversation}/items"
    answer = http.post(url, params=EVERYTHING, json={"items": [sent]})
    (made,) = ok(answer)["data"]
    if isinstance(sent.get("content"), str):
        sent["content"] = [{"text": sent["content"]}]
    if sent["type"] == "reasoning":
        sent.pop("status", None)
    assert missing(sent, made) == []
    assert made["type"] == item["type"]
    assert made["id"]
    one = views(http, conversation, made["id"], EVERYTHING)
    assert one in answer.content
    assert json.loads(one) == made


@pytest.mark.parametrize("item", ALL, ids=name_of)
def test_what_is_served_can_be_sent_again_and_is_stored_as_the_same_bytes(http, item):
    first = create(http, [with_extras(item)])
    (item_id,) = ids_of(items_of(http, first))
    served = views(http, first, item_id, EVERYTHING)
    second = create(http)
    answer = http.post(f"/conversations/{second}/items", params=EVERYTHING, content=b'{"items":[%b]}' % served)
    ok(answer)
    assert served in answer.content
    assert views(http, second, item_id, EVERYTHING) == served


@pytest.mark.parametrize("item", ALL, ids=name_of)
def test_what_a_create_stores_is_what_an_append_stores(http, item):
    named = item | {"id": item.get("id", "own_1")}
    created, appended = create(http, [named]), create(http)
    ok(http.post(f"/conversations/{appended}/items", json={"items": [named]}))
    assert views(http, created, named["id"], EVERYTHING) == views(http, appended, named["id"], EVERYTHING)


@pytest.mark.parametrize("kind", [kind for kind in REQUIRED if kind != "message"])
def test_nothing_but_what_the_stored_form_requires_is_added(http, kind):
    conversation = create(http, [REQUIRED[kind]])
    (made,) = items_of(http, conversation)
    assert made.keys() - REQUIRED[kind].keys() <= {"id", *ITEM_TYPES[kind].stored}


def test_all_types_share_a_conversation_in_the_order_in_which_they_came(http):
    sent = [item | {"id": f"own_{n}"} for n, item in enumerate(REQUIRED.values())]
    conversation = create(http, sent)
    items = items_of(http, conversation, **{"include[]": list(INCLUDABLE)})
    assert ids_of(items) == ids_of(sent)
    assert [item["type"] for item in items] == list(REQUIRED)


def test_a_message_needs_no_type_and_an_assistants_none_but_its_text(http):
    conversation = create(
        http,
        [
            {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "a"}], "phase": "final_answer"},
        ],
    )
    question, answer = items_of(http, conversation)
    assert (question["type"], question["status"]) == ("message", "completed")
    assert answer["phase"] == "final_answer"
    assert answer["content"] == [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]


def test_reasoning_is_stored_without_status(http):
    reasoning = REQUIRED["reasoning"] | {"status": "completed", "encrypted_content": "gAAA"}
    (made,) = items_of(http, create(http, [reasoning]))
    assert "status" not in made
    assert made["encrypted_content"] == "gAAA"


# ---------------------------------------------------------------------------------------------------------- include

IMAGES, LOGPROBS = "message.input_image.image_url", "message.output_text.logprobs"


def message(part, role="user"):
    return {"type": "message", "id": "msg_1", "role": role, "content": [part]}


HIDDEN = {
    "file_search_call.results": (
        REQUIRED["file_search_call"] | {"results": [{"file_id": "file_1", "text": "t"}]},
        lambda item: item["results"] is None,
    ),
    "code_interpreter_call.outputs": (
        REQUIRED["code_interpreter_call"] | {"outputs": [{"type": "logs", "logs": "1"}]},
        lambda item: item["outputs"] is None,
    ),
    IMAGES: (message(INPUT_IMAGE), lambda item: item["content"][0]["image_url"] is None),
    LOGPROBS: (message(OUTPUT_TEXT, "assistant"), lambda item: item["content"][0]["logprobs"] == []),
    IMAGES + " (a file)": (message(INPUT_FILE), lambda item: "file_data" not in item["content"][0]),
}


def every_view(http, sent, query):
    """The item as create, list and retrieve show it."""
    conversation = create(http)
    url = f"/conversations/{conversation}/items"
    yield ok(http.post(url, params=query, json={"items": [sent]}))["data"][0]
    yield ok(http.get(url, params=query))["data"][0]
    yield ok(http.get(f"{url}/{sent['id']}", params=query))


@pytest.mark.parametrize("include", HIDDEN)
def test_what_is_hidden_is_shown_to_who_includes_it_and_to_nobody_else(http, include):
    sent, is_hidden = HIDDEN[include]
    member = include.partition(" ")[0]
    others = [other for other in INCLUDABLE if other != member]
    for query in ({}, {"include[]": others}):
        assert all(is_hidden(item) for item in every_view(http, sent, query))
    for query in ({"include[]": member}, {"include": member}, {"include[0]": member}, EVERYTHING):
        for item in every_view(http, sent, query):
            assert missing(sent, item) == []


def test_members_of_include_may_come_in_both_forms_at_once(http):
    both = [
        REQUIRED["file_search_call"] | {"results": [{"file_id": "file_1"}]},
        REQUIRED["code_interpreter_call"] | {"outputs": [{"type": "logs", "logs": "1"}]},
    ]
    conversation = create(http, both)
    url = f"/conversations/{conversation}/items?order=asc"
    answer = ok(http.get(f"{url}&include[]=file_search_call.results&include=code_interpreter_call.outputs"))
    assert [missing(sent, got) for sent, got in zip(both, answer["data"], strict=True)] == [[], []]
    answer = ok(http.get(f"{url}&include=file_search_call.results&include=code_interpreter_call.outputs"))
    assert [missing(sent, got) for sent, got in zip(both, answer["data"], strict=True)] == [[], []]


def test_what_one_caller_includes_does_not_change_what_another_sees(http):
    sent, is_hidden = HIDDEN["file_search_call.results"]
    conversation = create(http, [sent])
    url = f"/conversations/{conversation}/items/{sent['id']}"
    assert is_hidden(ok(http.get(url)))
    assert missing(sent, ok(http.get(url, params=EVERYTHING))) == []
    assert is_hidden(ok(http.get(url)))


@pytest.mark.parametrize("include", INCLUDABLE)
def test_every_member_of_include_is_known(http, include):
    conversation = create(http, list(REQUIRED.values())[:20])
    ok(http.get(f"/conversations/{conversation}/items", params={"include[]": include}))


@pytest.mark.parametrize(
    "query",
    [
        "include[]=nope",
        "include=nope",
        "include=",
        "include[]=",
        f"include[]={IMAGES}&include[]=nope",
        "include[x]=nope",
    ],
)
def test_an_unknown_member_of_include_is_refused(http, query):
    conversation = create(http, [message({"type": "input_text", "text": "a"})])
    url = f"/conversations/{conversation}/items"
    for answer in (http.get(f"{url}?{query}"), http.get(f"{url}/msg_1?{query}")):
        message_ = refused(answer, 400, "invalid_value", "include")
        assert "file_search_call.results" in message_
    refused(
        http.post(f"{url}?{query}", json={"items": [{"role": "user", "content": "b"}]}), 400, "invalid_value", "include"
    )
    assert len(items_of(http, conversation)) == 1


@pytest.mark.parametrize("probability", [LOGPROB, LOGPROB | {"top_logprobs": [LOGPROB]}])
def test_log_probabilities_come_back_whole(http, probability):
    part = {"type": "output_text", "text": "a", "annotations": [], "logprobs": [probability]}
    conversation = create(http, [message(part, "assistant")])
    assert items_of(http, conversation, include=LOGPROBS)[0]["content"] == [part]


def test_media_in_a_tools_output_are_always_shown(http):
    output = REQUIRED["function_call_output"] | {"id": "fc_1", "output": [INPUT_IMAGE, INPUT_FILE]}
    for item in every_view(http, output, {}):
        assert missing(output, item) == []
