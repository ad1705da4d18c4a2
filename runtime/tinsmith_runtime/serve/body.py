"""Reads the body of a request, within limits on one and on all together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tinsmith_runtime.serve.pool import BusyError
from tinsmith_runtime.serve.samples import MAX_JSON_BYTES

_IMAGES = ("image/png", "image/jpeg", "application/octet-stream")
_ALL_BODIES = 4  # as many of the largest size may be held at once


class Body:
    """Counts the bytes that all requests hold until they are answered.

    Args:
        max_bytes: of one body.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request, kind: str) -> AsyncIterator[bytes]:
        """Gives the body, which is counted while the context is open.

        Args:
            request: whose body was not read yet.
            kind: its content type, without parameters.

        Raises:
            HTTPException: of 400, 413 or 415.
            BusyError: the requests hold too many bytes already.
        """
        limit = self._limit(kind)
        length = request.headers.get("content-length", "0")
        too_large = HTTPException(413, f"body: expected at most {limit} bytes")
        if length.isdigit() and int(length[:20]) > limit:
            raise too_large
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._held += len(chunk)
                if size > limit:
                    raise too_large
                if self._held > _ALL_BODIES * self._max_bytes:
                    raise BusyError
                chunks.append(chunk)
            if not size:
                raise HTTPException(400, "body: expected an image or JSON, got nothing")
            yield b"".join(chunks)
        except ClientDisconnect as error:
            raise HTTPException(400, "body: it ended too early") from error
        finally:
            self._held -= size

    def _limit(self, kind: str) -> int:
        if kind == "application/json":
            return min(self._max_bytes, MAX_JSON_BYTES)
        if kind in _IMAGES:
            return self._max_bytes
        raise HTTPException(415, f"Content-Type: expected {', '.join(_IMAGES)} or application/json")
