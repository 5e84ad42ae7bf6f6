"""Values that remember how they were written do so in another process, too."""

from __future__ import annotations

import pickle

from llama_conversations.config.written import EnvText, WrittenFloat, WrittenInt


def test_a_copy_in_another_process_is_the_same() -> None:
    number, fraction, text = copied = pickle.loads(
        pickle.dumps([WrittenInt("0012"), WrittenFloat("1.10"), EnvText("secret", "${env.KEY}")])
    )
    assert copied == [12, 1.1, "secret"]
    assert [str(number), str(fraction)] == ["0012", "1.10"]
    assert text.template == "${env.KEY}"
    assert type(text) is EnvText
