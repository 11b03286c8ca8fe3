"""Messages between a judge and a program, JSON behind a length; neither side trusts what arrives."""

from __future__ import annotations

import json
import os
from typing import Any

LIMIT = 64 << 20
"""Bytes of one message."""


class Closed(BaseException):
    """The other side is gone, or sends what is no message; no test may take it for an exception of the program."""


class Channel:
    """Messages over a connected socket: four bytes of length, then JSON.

    Args:
        descriptor: the socket's; plain reads and writes touch less memory than a socket's methods do.
    """

    _encode = staticmethod(json.JSONEncoder(check_circular=False).encode)
    _decode = staticmethod(json.JSONDecoder().decode)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.buffer = b""
        self.closed = False

    def send(self, message: Any) -> None:
        """Raises Closed."""
        data = self._encode(message).encode()
        data = len(data).to_bytes(4, "big") + data
        try:
            sent = os.write(self.descriptor, data)
            while sent < len(data):
                sent += os.write(self.descriptor, data[sent : sent + (1 << 20)])
        except OSError:
            self.closed = True
            raise Closed("closed") from None

    def receive(self) -> Any:
        """The next message; raises Closed."""
        size = int.from_bytes(self._exactly(4), "big")
        if size > LIMIT:
            self.closed = True
            raise Closed("message too long")
        try:
            return self._decode(self._exactly(size).decode())
        except (ValueError, RecursionError):
            self.closed = True
            raise Closed("not a message") from None

    def _exactly(self, size: int) -> bytes:
        data = self.buffer
        if len(data) < size:
            parts, missing = [data], size - len(data)
            while missing > 0:
                try:
                    part = os.read(self.descriptor, 1 << 16)
                except OSError:
                    part = b""
                if not part:
                    self.closed = True
                    raise Closed("closed")
                parts.append(part)
                missing -= len(part)
            data = b"".join(parts)
        self.buffer = data[size:]
        return data[:size]
