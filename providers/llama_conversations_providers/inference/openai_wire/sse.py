"""Server-sent events, read from raw bytes as they come off the network (WHATWG HTML, "Server-sent events", 9.2.6)."""

from __future__ import annotations

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""An event longer than this is taken for garbage, so that a stream without line ends cannot fill the memory."""

_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """No end of event came within ``MAX_EVENT_BYTES``."""


class EventParser:
    """Cuts a byte stream into events and yields the data of each; other fields and comments are dropped.

    Bytes may be split anywhere, inside a line end or a UTF-8 character too. Line ends are LF, CRLF or CR. An event
    whose only line is ``data: …``, the usual one, costs a split and a slice, and nothing per line::

        parser = EventParser()
        parser.feed(b'data: {"a"')   # []
        parser.feed(b': 1}\\n\\ndata: [DONE]\\n\\n')   # [b'{"a": 1}', b'[DONE]']
    """

    __slots__ = ("_after_cr", "_held", "_held_bytes", "_started")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # the beginning of an event that has not ended yet
        self._held_bytes = 0
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that ends within ``data``. Raises ``EventTooLong``."""
        if b"\r" in data or self._after_cr:
            data = self._with_lf_only(data)
        if not self._ends_an_event(data):
            self._hold(data)
            return []
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        if rest:
            self._hold(rest)
        return [found for block in blocks if (found := self._data_of(block)) is not None]

    def close(self) -> list[bytes]:
        """The data of an event that lacks its closing blank line; the standard drops it, some servers send it so."""
        found = self._data_of(b"".join(self._held))
        self._held.clear()
        return [] if found is None else [found]

    def _with_lf_only(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _ends_an_event(self, data: bytes) -> bool:
        if b"\n\n" in data:
            return True
        return bool(self._held) and data.startswith(b"\n") and self._held[-1].endswith(b"\n")

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
        if self._held_bytes > MAX_EVENT_BYTES:
            raise EventTooLong

    def _data_of(self, block: bytes) -> bytes | None:
        if block.startswith(b"data: ") and b"\n" not in block:
            self._started = True
            return block[6:]
        return self._data_of_lines(block)

    def _data_of_lines(self, block: bytes) -> bytes | None:
        if not self._started:
            block = block.removeprefix(_BOM)
            self._started = True
        found = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"data":
                found.append(value.removeprefix(b" "))
        return b"\n".join(found) if found else None
