"""An MCP server for tests: a real HTTP process, built with the ``mcp`` package, that does as its address says.

``ScriptedMcp`` starts one and talks to its controls; ``url`` makes addresses::

    with ScriptedMcp() as server:
        server.url()                                    # every tool, both the newest and the older protocol
        server.url(era="legacy", answers="json")        # a server of the older kind
        server.url(fault="hang", on="tools/call")       # one that goes wrong there, see ``faults.FAULTS``
        server.url(require="bearer")                    # one that wants the token ``GOOD_TOKEN``
        server.url(listing="pages")                     # one with many tools, see ``tools.LISTINGS``

``tag`` marks what is asked there in the journal, so that tests that run at the same time do not disturb each other. The
tool ``slow`` waits at a gate, which a test opens.
"""

from scripted_mcp.client import LoggedRequest, ScriptedMcp
from scripted_mcp.front import GOOD_TENANT, GOOD_TOKEN
from scripted_mcp.tools import ODD_NAMES

__all__ = ["GOOD_TENANT", "GOOD_TOKEN", "ODD_NAMES", "LoggedRequest", "ScriptedMcp"]
