"""Parts of `tinsmith serve` by themselves: bodies of any kind, the camera, a failure within."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinsmith_runtime import InputError, TinsmithError, read_bundle

pytestmark = pytest.mark.not_on_a_board(reason="the web server is not installed there")
DATA = Path(__file__).parents[1] / "data"
IMAGE = read_bundle(DATA / "tiny.tin").manifest.inputs
SEVERAL = read_bundle(DATA / "pair.tin").manifest.inputs
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["b64", "pixels", "sums", "instances"]), inner, max_size=3
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_any_body_is_taken_or_refused_in_one_line(body: bytes) -> None:
    _require_one_line(body)


@given(st.lists(TREES, min_size=1, max_size=3))
def test_any_instances_are_taken_or_refused_in_one_line(instances: list[Any]) -> None:
    _require_one_line(json.dumps({"instances": instances}).encode())


def _require_one_line(body: bytes) -> None:
    from tinsmith_runtime.serve.samples import make_batch, read_body

    for is_json in (True, False):
        for inputs in (IMAGE, SEVERAL):
            said = ""
            try:
                make_batch(read_body(body, is_json), inputs)
            except InputError as error:
                said = str(error)
            assert "\n" not in said
            assert len(said) < 500


@given(st.integers(1, 4).flatmap(lambda n: st.binary(min_size=64 * n, max_size=64 * n)))
def test_pixels_arrive_as_they_were_sent(pixels: bytes) -> None:
    from tinsmith_runtime.serve.samples import make_batch, read_body

    sent = np.frombuffer(pixels, np.uint8).reshape(-1, 8, 8, 1)
    body = json.dumps({"instances": sent.tolist()}).encode()
    np.testing.assert_array_equal(make_batch(read_body(body, True), IMAGE), sent)


@given(st.text(st.characters(codec="latin-1"), max_size=30), st.integers(0, 65535) | st.none())
def test_a_name_is_known_with_and_without_its_port(name: str, port: int | None) -> None:
    from starlette.datastructures import Headers

    from tinsmith_runtime.serve.access import Access

    access = Access(None, frozenset({"localhost", "pi.local"}), "cookie")
    ending = "" if port is None else f":{port}"
    for known in ("localhost", "PI.local", "pi.local.", "127.0.0.1", "[fe80::1]"):
        assert access.knows_host(Headers({"host": known + ending}))
    # Whatever is put before or behind it, by a name that is no address, is another name.
    for other in (f"{name}x.example", f"localhost{ending}.{name}x.example", f"x{name}@evil"):
        assert not access.knows_host(Headers({"host": other}))


class Frames:
    """Frames of a camera that counts how often it is opened and closed."""

    def __init__(self, *, fails: bool = False) -> None:
        self.opened = self.closed = 0
        self._fails = fails

    def __call__(self, _: str) -> Iterator[Image.Image]:
        self.opened += 1
        try:
            while not self._fails:
                time.sleep(0.01)
                yield Image.new("RGB", (8, 8))
            raise TinsmithError("camera 0: unplugged")
        finally:
            self.closed += 1


def test_the_camera_is_open_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinsmith_runtime.serve import camera

    frames = Frames()
    monkeypatch.setattr(camera, "camera_frames", frames)
    monkeypatch.setattr(camera, "_IDLE_S", 0.2)
    watched = camera.Camera("0")
    for _ in range(2):
        first = watched.frame()
        assert first.size == (8, 8)
        assert frames.closed == frames.opened - 1
        end = time.monotonic() + 10
        while frames.closed < frames.opened:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert frames.opened == 2
    watched.frame()
    watched.close()
    assert (frames.opened, frames.closed) == (3, 3)


def test_a_camera_that_fails_says_so_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinsmith_runtime.serve import camera

    monkeypatch.setattr(camera, "camera_frames", Frames(fails=True))
    watched = camera.Camera("0")
    for _ in range(2):
        with pytest.raises(TinsmithError, match="unplugged"):
            watched.frame()


def ask(app: Any, path: str, stop_after_s: float | None = None) -> tuple[int, Any]:
    """Has an application answer a request in this process; gives the status and the JSON."""
    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"",
             "headers": [(b"content-type", b"image/png"), (b"host", b"localhost")],
             "http_version": "1.1"}  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        task = asyncio.ensure_future(app(scope, receive, send))
        if stop_after_s is not None:
            await asyncio.sleep(stop_after_s)
            task.cancel()
        await task

    with suppress(RuntimeError):  # which the server above has no use for
        asyncio.run(run())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_failure_within_is_told_to_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tinsmith_runtime.serve import ServeOptions
    from tinsmith_runtime.serve.app import make_app
    from tinsmith_runtime.serve.pool import Pool
    from tinsmith_runtime.serve.service import Service

    async def fail(*_: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(Pool, "run", fail)
    service = Service(ServeOptions(DATA / "tiny.tin", backend="litert"))
    status, said = ask(make_app(service), "/v1/predict")
    service.close()
    assert (status, said) == (500, {"error": "the server failed; its log says more"})
    assert "RuntimeError: secret of the inside" in capsys.readouterr().err


@pytest.mark.parametrize(("timeout_s", "said"), [(0.1, "not done within 0.1 s"), (30, "stops")])
def test_who_is_cut_off_is_told(timeout_s: float, said: str) -> None:
    """By the request's time, or by the server's stop, which waits for 10 s."""
    from tinsmith_runtime.serve.access import Access
    from tinsmith_runtime.serve.guard import Guard
    from tinsmith_runtime.serve.metrics import Metrics

    async def for_ever(*_: object) -> None:
        await asyncio.sleep(60)

    metrics, access = Metrics(), Access(None, frozenset({"localhost"}), "cookie")
    guard = Guard(for_ever, access, metrics, frozenset({"/v1/predict"}), timeout_s)
    status, answer = ask(guard, "/v1/predict", 0.2 if timeout_s > 1 else None)
    assert (status, said in answer["error"]) == (503, True)
    assert metrics.requests == {("/v1/predict", 503): 1}


def test_a_pool_computes_as_many_at_once_as_it_has_workers() -> None:
    from tinsmith_runtime.api import load
    from tinsmith_runtime.serve.pool import Pool

    pool = Pool(load(DATA / "tiny.tin", "litert"), 3)
    together, seen = threading.Barrier(3), []

    def work(model: Any) -> None:
        together.wait(10)  # breaks, unless three are here at once
        seen.append(id(model))

    async def run() -> None:
        await asyncio.gather(*(pool.run(work) for _ in range(6)))

    asyncio.run(run())
    pool.close()
    assert len(seen) == 6
    assert len(set(seen)) == 3


def test_base64_is_strict() -> None:
    from tinsmith_runtime.serve.samples import read_picture

    assert read_picture("x", {"b64": base64.b64encode(b"abc").decode()}) == b"abc"
    for text in ("YWJj\n", "YWJ", "YW Jj", "\u00e9", "-_-_"):
        with pytest.raises(InputError, match=r"^x\.b64: expected base64 text$"):
            read_picture("x", {"b64": text})
