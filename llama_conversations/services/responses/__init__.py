"""The Responses engine: one turn is one value; its steps are generators of events.

::

    service.py        the API: what is asked, what is answered
      connection.py   turns over one connection, and what it remembers
      checks.py       what of a request is supported, and what excludes what
      turn.py         the value: a turn that was claimed
      context.py      the history and the input that the model is given
      chat_messages.py, chat_request.py    items and parameters -> a chat completion request
      runner.py       runs turns, whoever listens; leases; the sweep of what died
        engine.py     one turn: events, from created to the terminal one, and the commit between them
          chat_deltas.py    chunks of the model server -> deltas
          output.py         deltas -> output items and their events
          toolbox.py        what the model may call, and this server's own tools: MCP servers, search_tool.py
          citations.py      the pages that a text names
      snapshot.py     the response object at any moment
"""
