"""Around every request: who may ask, how long it may take, and what a browser may do with it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from tinsmith_runtime.serve.access import Access
    from tinsmith_runtime.serve.metrics import Metrics

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_OPEN = "/healthz"  # for who watches whether the server lives, and has no token


class Guard:
    """Wraps an application.

    Args:
        app: what answers the requests that are let through.
        access: who may ask.
        metrics: every answer is counted there.
        paths: that the application knows; others are counted as one.
        timeout_s: how long a request may take.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        metrics: Metrics,
        paths: frozenset[str],
        timeout_s: float,
    ) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self._paths, self._timeout_s = paths, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started, start = False, time.perf_counter()
        path = scope["path"] if scope["path"] in self._paths else "other"

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._count(path, message["status"], time.perf_counter() - start)
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            async with asyncio.timeout(self._timeout_s):
                app = self._refusal(scope) or self._app
                await app(scope, receive, send_guarded)
            return
        except TimeoutError:
            said = f"the request was not done within {self._timeout_s:g} s"
        except asyncio.CancelledError:
            said = "the server stops"
        if not started:  # else nothing more can be said: the server closes the connection
            late = error_response(503, said, {"Retry-After": "5", "Connection": "close"})
            await late(scope, receive, send_guarded)

    def _count(self, path: str, status: int, seconds: float) -> None:
        self._metrics.requests[path, status] += 1
        if status == 200 and path == "/v1/predict":
            self._metrics.request_seconds.observe(seconds)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to who may not ask; to who brings the token in the page's URL, the cookie."""
        headers, access = Headers(scope=scope), self._access
        if not access.knows_host(headers):
            return error_response(421, "Host: this server does not go by that name (--allow-host)")
        if scope["method"] not in ("GET", "HEAD") and not access.same_origin(headers):
            return error_response(403, "Origin: another page may not ask")
        if scope["path"] == _OPEN:
            return None
        given = QueryParams(scope["query_string"]).get("token") if scope["path"] == "/" else None
        if given is not None and access.is_token(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(access.cookie, given, httponly=True, samesite="lax")
            return response
        if not access.admits(headers):
            said = "expected the token: open the URL that `tinsmith serve` printed, or send "
            return error_response(
                401, said + "Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )
        return None


def error_response(status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    """Says in one line what was expected."""
    return JSONResponse({"error": said}, status, headers)
