"""The Responses engine: one turn is one value; its steps are generators of events.

::

    service.py                    the API: what is asked, what is answered
      checks.py                   what of a request is supported, and what excludes what
      connection.py               turns over one connection, and what it remembers
      measures.py                 contexts counted and compacted on request
      following.py                the kept events of a background response, then those that come
      retelling.py                a stream told from what is stored (a repeated request of an idempotency key)

    turn.py, surroundings.py      the values: a turn, and what turns need of the server around them
    runner.py                     runs turns, whoever listens; slow readers
    leases.py                     keeps what runs, sweeps up what died
    background.py                 the queue: takes jobs up, gives them back, watches for cancellations
      journal.py                  keeps a job's events

    engine.py                     one turn: claim, created … work … commit, terminal event
      background_turn.py          the same in the background
      model_rounds.py             the work: read the context, then rounds of the model and the tools
        context.py                history and input; prompt_template.py: the stored prompt
        history.py                what was read lately; settled_messages.py: what of it is told in bytes that stay
        context_window.py         what does not fit: refused, truncated (truncation.py), compacted; token_estimate.py
        toolbox.py                whose a call is, and what the server's own tools answer
          mcp_tools.py            tools of MCP servers
          search_tool.py          the web search; web_search_item.py: its item
          citations.py            the pages that a text names
        model_wire.py             how a model is asked
          chat_wire.py            in chat completions
            chat_messages.py, chat_parts.py, files.py, document_text.py, chat_request.py    items and parameters
            system_messages.py      which of them are the system's, as chat templates take it
            chat_deltas.py, think_tags.py                                                   chunks -> deltas
          responses_wire.py       in the Responses API; responses_input.py: what it takes of a history
        call_order.py             deltas, so that each call is together
        output.py                 deltas -> output items and their events
          output_items.py         each type of item; output_calls.py: calls of tools
      snapshot.py                 the response object at any moment; failures.py: its error
      sealing.py, secrets.py      what clients carry and cannot read: thoughts, compactions
    obfuscation.py                padding of streams
    tasks.py                      what asyncio lacks

Where an event comes from: ``created``, ``in_progress``, ``error`` and the terminal one from ``engine.py`` (``created``
and ``queued`` of background responses from ``background.py``); all others from ``output_items.py`` and
``output_calls.py``, made by ``output.py`` or, for tool servers, by ``toolbox.py``; or, as they came, from an upstream
that speaks the Responses API.
"""
