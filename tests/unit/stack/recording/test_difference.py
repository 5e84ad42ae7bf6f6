"""What is shown when nothing fits."""

from __future__ import annotations

from typing import Any

from llama_conversations.stack.recording.difference import MAX_LINES, MAX_WIDTH, difference_to_nearest
from llama_conversations.stack.recording.folder import Recording


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"content": text, "role": "user"} for text in texts], "model": "m", **more}


def recorded(**requests: Any) -> list[tuple[str, Recording]]:
    return [(name, Recording("chat_completion", request, [])) for name, request in requests.items()]


def test_the_nearest_is_shown_with_its_name_and_what_differs() -> None:
    others = recorded(
        far=chat("Tell me a joke about whales", stream=True),
        near=chat("What is the weather in Rome?", temperature=0),
        further=chat("What is it?"),
    )
    shown = difference_to_nearest(chat("What is the weather in Paris?", temperature=0), others)
    assert shown.split("\n") == [
        "--- near",
        "+++ this request",
        "@@ -2,5 +2,5 @@",
        '   "messages": [',
        "     {",
        '-      "content": "What is the weather in Rome?",',
        '+      "content": "What is the weather in Paris?",',
        '       "role": "user"',
        "     }",
    ]


def test_a_request_that_is_recorded_under_another_operation_is_named_though_nothing_differs() -> None:
    assert difference_to_nearest(chat("Hi"), recorded(other=chat("Hi"))) == "--- other\n+++ this request"


def test_where_nothing_is_alike_nothing_is_shown() -> None:
    assert difference_to_nearest(chat("Hi"), []) == ""
    assert difference_to_nearest(chat("Hi"), recorded(models={})) == ""


def test_a_long_line_is_shown_where_it_differs() -> None:
    text = " ".join(f"word{number}" for number in range(500))
    shown = difference_to_nearest(chat(text.replace("word300", "WORD")), recorded(near=chat(text)))
    removed, added = (line for line in shown.split("\n") if line[:2] in ("-…", "+…"))
    assert "word299 word300 word301" in removed
    assert "word299 WORD word301" in added
    assert all(len(line) <= MAX_WIDTH for line in shown.split("\n"))


def test_a_long_line_that_only_one_has_is_shown_from_its_beginning() -> None:
    shown = difference_to_nearest(chat("Hi", "x" * 1000), recorded(near=chat("Hi")))
    [line] = [line for line in shown.split("\n") if "xx" in line]
    assert line.startswith('+      "content": "xxx')
    assert line.endswith("…")
    assert len(line) == MAX_WIDTH


def test_a_long_difference_is_cut() -> None:
    one, other = chat(*(f"a{n}" for n in range(100))), chat(*(f"b{n}" for n in range(100)))
    lines = difference_to_nearest(one, recorded(near=other)).split("\n")
    assert len(lines) == MAX_LINES + 1
    assert lines[-1].startswith("… and ")


def test_of_a_long_history_only_the_change_is_shown() -> None:
    history = [f"message {number}" for number in range(1000)]
    shown = difference_to_nearest(chat(*history, "new"), recorded(near=chat(*history)))
    assert '"content": "new"' in shown
    assert len(shown.split("\n")) < 12
