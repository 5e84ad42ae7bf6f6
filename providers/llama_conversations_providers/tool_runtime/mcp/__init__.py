"""Tools of MCP servers (Model Context Protocol), over streamable HTTP.

From the outside in: ``provider`` opens sessions; a ``session`` asks for tools and calls them; a ``connection`` keeps
the protocol's machinery alive in a task of its own; the ``transport`` carries its requests, each let through by an
``admission`` and sent over the ``network``, which connects to nothing but addresses that were checked. ``policy`` says
which those are.
"""
