"""A model server for tests: a real HTTP process that speaks chat completions and responses and does as the test says.

The ``model`` of a request chooses what happens, see ``modes.MODES``; words of the last user text steer it further:
``gate=name`` names the gate that a slow answer waits at, ``tag=name`` marks the request in the journal and picks the
queue of scripted answers, so that tests that run at the same time do not disturb each other. Requests are checked as
strictly as OpenAI checks them. ``ScriptedModel`` starts one and talks to its controls::

    with ScriptedModel() as model:
        ...  # POST {"model": "slow", "messages": [{"role": "user", "content": "gate=a"}]} to model.base_url
        model.wait_until_reached("a")
        model.open_gate("a")
        [request] = model.requests(model="slow")
"""

from scripted_model.answers import Answer, Step
from scripted_model.client import LoggedRequest, ScriptedModel

__all__ = ["Answer", "LoggedRequest", "ScriptedModel", "Step"]
