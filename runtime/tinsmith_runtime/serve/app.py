"""The page and the API: what each path answers."""

from __future__ import annotations

import asyncio
import base64
import io
import traceback
from dataclasses import asdict
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tinsmith_runtime.errors import InputError, TinsmithError, UsageError
from tinsmith_runtime.serve.body import Body
from tinsmith_runtime.serve.guard import error_response
from tinsmith_runtime.serve.pool import BusyError
from tinsmith_runtime.serve.samples import read_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from starlette.requests import Request

    from tinsmith_runtime.serve.answers import Answer
    from tinsmith_runtime.serve.service import Service

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/openapi.json": ("openapi.json", "application/json"),
}
PATHS = frozenset({*_FILES, "/v1/predict", "/v1/model", "/v1/camera", "/healthz", "/metrics"})
"""Every path that is answered."""


def make_app(service: Service) -> Starlette:
    """Makes the application on a service, without a guard."""
    routes = [
        *(Route(path, _static(*found)) for path, found in _FILES.items()),
        Route("/v1/predict", partial(_predict, service, Body(service.max_body_bytes)),
              methods=["POST"]),
        Route("/v1/model", partial(_model, service)),
        Route("/v1/camera", partial(_camera, service), methods=["POST"]),
        Route("/healthz", _health),
        Route("/metrics", partial(_metrics, service)),
    ]  # fmt: skip
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _http_error,
            TinsmithError: _tinsmith_error,
            BusyError: _busy,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False  # what is not there is not there
    return app


def _static(name: str, media_type: str) -> Callable[[Request], Any]:
    content = files("tinsmith_runtime.serve").joinpath("static", name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def _predict(service: Service, body: Body, request: Request) -> Response:
    top = _top(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json"
    async with body.read(request, kind) as data:
        pool = service.pool
        answer = await pool.run(
            lambda model: pool.predictor.answer(model, read_body(data, is_json), top)
        )
    return _answered(service, answer)


def _answered(service: Service, answer: Answer, **more: str) -> Response:
    service.metrics.samples += len(answer.results)
    service.metrics.predict_seconds.observe(answer.latency_ms / 1e3)
    return JSONResponse(asdict(answer) | more)


def _top(request: Request) -> int | None:
    given = request.query_params.get("top")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 6 and int(given)):
        raise InputError("top: expected a whole number from 1 to 99999")
    return int(given)


async def _model(service: Service, _: Request) -> Response:
    return Response(service.described(), media_type="application/json")


async def _camera(service: Service, request: Request) -> Response:
    if service.camera is None:
        raise HTTPException(404, "this server shows no camera: start it with --camera")
    top, camera = _top(request), service.camera
    try:
        frame = await asyncio.to_thread(camera.frame)
    except TinsmithError as error:
        raise HTTPException(503, str(error)) from error
    pool, jpeg = service.pool, await asyncio.to_thread(_jpeg, frame)
    # The picture that is shown is the one that was looked at.
    answer = await pool.run(lambda model: pool.predictor.answer(model, [("frame", jpeg)], top))
    picture = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return _answered(service, answer, image=picture)


def _jpeg(frame: Image) -> bytes:
    file = io.BytesIO()
    frame.save(file, "JPEG", quality=80)
    return file.getvalue()


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _metrics(service: Service, _: Request) -> Response:
    model = service.pool.model
    text = service.metrics.text(model.engine_version, model.variant.sha256)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    return error_response(error.status_code, error.detail, headers)


async def _tinsmith_error(_: Request, error: Exception) -> Response:
    return error_response(400 if isinstance(error, UsageError) else 500, str(error))


async def _busy(_: Request, __: Exception) -> Response:
    return error_response(503, "too many requests wait: try again", {"Retry-After": "1"})


async def _failed(_: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return error_response(500, "the server failed; its log says more")
