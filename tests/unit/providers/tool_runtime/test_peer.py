"""How errors speak of a tool server."""

from __future__ import annotations

from llama_conversations_providers.tool_runtime.mcp.peer import MAX_WORDS, Peer

URL = "https://tools.example:8443/mcp?key=k3y-in-the-url"


def test_what_is_secret_is_struck_out_of_the_servers_words() -> None:
    peer = Peer.at("x", URL, ["token-1234", "Bearer token-1234", "1"])
    words = f"Bearer token-1234, token-1234, {URL}, tools.example:8443, k3y-in-the-url, 1"
    assert peer.complained(words, -1).message == "it answered with an error: ***, ***, ***, ***, ***, 1"


def test_a_servers_words_are_cut_where_they_go_on_and_on() -> None:
    message = Peer.at("x", URL, []).complained("y" * 10_000, -1).message
    assert message == f"it answered with an error: {'y' * MAX_WORDS}…"


def test_our_own_words_stay_as_they_are() -> None:
    error = Peer.at("x", URL, ["redirects"]).failed("it redirects in a circle")
    assert (error.message, error.code) == ("it redirects in a circle", None)
