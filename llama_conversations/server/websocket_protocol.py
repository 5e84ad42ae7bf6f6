"""WebSockets on a connection: uvicorn's protocol, which at shutdown lets the app end what is under way."""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from llama_conversations.server.websocket import RESTARTS

__all__ = ["WebSocketProtocol"]


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection.

    What differs from uvicorn's protocol: at shutdown the app is told (by a disconnect with ``RESTARTS``) and closes the
    connection itself, instead of finding it closed. Text comes to the app as bytes, which it parses anyway. A handshake
    that cannot be read closes the connection; one that the app refuses is not reported as a fault of the app.
    """

    def shutdown(self) -> None:
        """The server shuts down."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": RESTARTS})
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take what came. The head of the handshake comes as a whole, since ``HttpProtocol`` has read it."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.close()

    def handle_text(self, event: Frame) -> None:
        """Take a text message, or the first part of one."""
        self.handle_bytes(event)

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the app says."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True
