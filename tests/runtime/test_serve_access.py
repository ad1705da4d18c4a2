"""Who may ask `tinsmith serve`, and what hostile requests come to: a line each, and it goes on."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from serving import Server, png, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="the web server is not installed there"),
]
SECRET = "correct-horse-battery"
PNG, JSON = "image/png", "application/json"


@pytest.fixture(scope="module")
def local(tiny: Path) -> Iterator[Server]:
    """For this machine alone, with a small limit."""
    with serving(tiny, "--max-body-kib", "256", "--timeout", "3") as found:
        yield found


@pytest.fixture(scope="module")
def open_to_all(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On every address, with a token of its owner."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(SECRET + "\n")
    words = ("--host", "0.0.0.0", "--token-file", path, "--allow-host", "pi.example")
    with serving(tiny, *words) as found:
        yield found


# ---- the token


def test_a_token_is_asked_for_beyond_this_machine(open_to_all: Server) -> None:
    assert open_to_all.token == SECRET
    for path in ("/", "/page.js", "/openapi.json", "/v1/model", "/metrics", "/nosuch"):
        reply = open_to_all.ask(path)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert "expected the token" in reply.error()
    assert open_to_all.ask("/v1/predict", png(8, 8), PNG).status == 401
    assert open_to_all.ask("/healthz").status == 200


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer x", f"Basic {SECRET}", f"Bearer {SECRET}x", "Bearer \xff"],
)
def test_a_wrong_token_is_refused(open_to_all: Server, given: str) -> None:
    assert open_to_all.ask("/v1/model", Authorization=given).status == 401


def test_the_token_in_a_header(open_to_all: Server) -> None:
    bearer = f"Bearer {SECRET}"
    assert open_to_all.ask("/v1/predict", png(8, 8), PNG, Authorization=bearer).status == 200


def test_the_token_in_the_url_becomes_a_cookie(open_to_all: Server) -> None:
    assert open_to_all.ask("/?token=wrong").status == 401
    assert open_to_all.ask(f"/v1/model?token={SECRET}").status == 401
    reply = open_to_all.ask(f"/?token={SECRET}")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie, *marks = reply.headers["set-cookie"].split("; ")
    assert cookie == f"tinsmith-{open_to_all.port}={SECRET}"
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(marks)
    assert open_to_all.ask("/", Cookie=f"other=1; {cookie}").status == 200
    assert open_to_all.ask("/", Cookie=cookie + "x").status == 401


def test_a_token_is_made_and_kept(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "token"
    words = ("--token-file", path)
    with serving(tiny, *words) as first:
        assert len(first.token) >= 32
        assert path.stat().st_mode & 0o777 == 0o600
        assert first.ask("/v1/model").status == 401
    with serving(tiny, *words) as second, serving(tiny, "--host", "0.0.0.0") as other:
        assert second.token == first.token
        assert len(other.token) >= 32
        assert other.token != first.token


# ---- names and other pages


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "pi.local"])
def test_a_foreign_name_is_refused(local: Server, host: str) -> None:
    reply = local.ask("/v1/model", Host=host)
    assert (reply.status, "Host: " in reply.error()) == (421, True)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:80"])
def test_this_machines_names_are_taken(local: Server, host: str) -> None:
    assert local.ask("/v1/model", Host=host.format(port=local.port)).status == 200


def test_more_names_are_taken_where_they_are_allowed(open_to_all: Server) -> None:
    bearer = f"Bearer {SECRET}"
    for host in ("pi.example", socket.gethostname(), f"{socket.gethostname()}.local:1"):
        assert open_to_all.ask("/v1/model", Host=host, Authorization=bearer).status == 200
    assert open_to_all.ask("/", Host="evil.example", Authorization=bearer).status == 421


def test_another_page_may_not_ask(local: Server) -> None:
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{local.port + 1}"):
        reply = local.ask("/v1/predict", png(8, 8), PNG, Origin=origin)
        assert (reply.status, "Origin: " in reply.error()) == (403, True)
    own = f"http://127.0.0.1:{local.port}"
    assert local.ask("/v1/predict", png(8, 8), PNG, Origin=own).status == 200


def test_a_browser_is_told_what_it_may_do(local: Server) -> None:
    for path in ("/", "/page.js", "/v1/model", "/nosuch"):
        headers = local.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


# ---- hostile requests


@pytest.mark.parametrize(
    "path",
    ["/../index.html", "/static/index.html", "/..%2f..%2fetc/passwd", "//etc/passwd", "/page.js/",
     "/%2e%2e/openapi.json", "/page.js%00", "/" + "a" * 8000],
)  # fmt: skip
def test_no_path_leads_out(local: Server, path: str) -> None:
    assert local.ask(path).status == 404


HOSTILE: list[tuple[bytes, str | None, int, str]] = [
    (b"", PNG, 400, "got nothing"),
    (b"x", None, 415, "Content-Type: expected"),
    (b"x", "text/plain", 415, "Content-Type: expected"),
    (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415, "Content-Type: expected"),
    (b"GIF89a", "image/gif", 415, "Content-Type: expected"),
    (b"GIF89a", PNG, 400, "expected a PNG or JPEG"),
    (png(8, 8)[:40], PNG, 400, "image: "),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg", 400, "image: "),
    (png(8, 8).replace(b"IHDR", b"IHDX"), PNG, 400, "image: "),
    (png(60_000, 60_000, b""), PNG, 400, "pixels"),  # 3.6 GB, if it were decoded
    (b"\x89PNG\r\n\x1a\n" + bytes(300 << 10), PNG, 413, "at most 262144 bytes"),
    (b"{", JSON, 400, "expected JSON"),
    (b"\xff\xfe", JSON, 400, "expected JSON"),
    (b"null", JSON, 400, 'expected {"instances": [...]}'),
    (b'{"instances": 1}', JSON, 400, "a list of 1 to 64"),
    (b'{"instances": []}', JSON, 400, "a list of 1 to 64"),
    (b'{"instances": [1], "instances": [2]}', JSON, 400, "every key once"),
    (b'{"instances": [1], "more": 2}', JSON, 400, 'expected {"instances": [...]}'),
    (json.dumps({"instances": [[0]] * 65}).encode(), JSON, 400, "a list of 1 to 64"),
    (b"[" * 200_000, JSON, 400, "expected JSON: nested too deep"),
    (b'{"instances":[' + b"[" * 500 + b"]" * 500 + b"]}", JSON, 400, "instances[0]: "),
    (b'{"instances":[[1e999]]}', JSON, 400, "whole numbers from 0 to 255"),
    (b'{"instances":[[NaN]]}', JSON, 400, "whole numbers from 0 to 255"),
    (b'{"instances":[[256]]}', JSON, 400, "whole numbers from 0 to 255"),
    (b'{"instances":[["1"]]}', JSON, 400, "expected numbers"),
    (b'{"instances":[[true]]}', JSON, 400, "expected numbers"),
    (b'{"instances":[[null]]}', JSON, 400, "expected numbers"),
    (b'{"instances":[[[1], [2, 3]]]}', JSON, 400, "equal lengths"),
    (b'{"instances":[["\\u001b[2J"]]}', JSON, 400, "expected numbers"),
    (b'{"instances":[' + b"9" * 5000 + b"]}", JSON, 400, "expected JSON"),
    (b'{"instances":[[' + b"9" * 400 + b"]]}", JSON, 400, "instances[0]: "),
    (b'{"instances":[{"b64": 1}]}', JSON, 400, "expected base64 text"),
    (b'{"instances":[{"b64": "\xc3\xa9"}]}', JSON, 400, "expected base64 text"),
    (b'{"instances":[{"b64": "AAAA"}]}', JSON, 400, "instances[0]: expected a PNG or JPEG"),
    (b'{"instances":[{"image": 1}]}', JSON, 400, "expected lists of numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "status", "said"), HOSTILE)
def test_a_hostile_body_is_one_line(
    local: Server, body: bytes, kind: str | None, status: int, said: str
) -> None:
    reply = local.ask("/v1/predict", body, kind)
    assert (reply.status, said in reply.error()) == (status, True), reply.error()


def test_sizes_that_lie(local: Server) -> None:
    reply = local.ask("/v1/predict", b"x", PNG, Content_Length="9" * 15)
    assert reply.status == 413
    chunks = (bytes(1 << 16) for _ in range(400))  # 25 MiB of no length that is said
    assert local.ask("/v1/predict", chunks, PNG).status == 413
    for top in ("0", "-1", "x", "9" * 9, "", "\u0661".encode().hex()):
        assert local.ask(f"/v1/predict?top={top}", png(8, 8), PNG).status == 400


def test_a_picture_of_many_pixels_in_few_bytes_costs_no_more_than_the_largest(
    local: Server,
) -> None:
    bomb = png(8000, 8000)  # 64 million pixels in 62 kB
    assert len(bomb) < 100_000
    assert local.ask("/v1/predict", bomb, PNG).status == 200
    text = base64.b64encode(png(9000, 9000)).decode()  # more than 67 million
    assert "pixels" in local.ask_json({"instances": [{"b64": text}]}).error()


def test_who_sends_slowly_or_nothing_keeps_nobody_waiting(local: Server) -> None:
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", local.port)))
            for _ in range(100)
        ]
        for one in idle[:50]:
            one.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n")
        for one in idle[:25]:
            one.sendall(b"Content-Type: image/png\r\n\r\n\x89P")
        start = time.perf_counter()
        assert local.ask("/v1/predict", png(8, 8), PNG).status == 200
        assert time.perf_counter() - start < 2
        for one in idle:
            one.settimeout(30)
        # Their time is over: 3 s of a request, 10 s without one.
        assert idle[0].recv(100).startswith(b"HTTP/1.1 503 ")
        assert idle[30].recv(100) == b""
        assert idle[99].recv(100) == b""
        assert time.perf_counter() - start < 25


def test_too_many_connections_are_closed(local: Server) -> None:
    with ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(socket.create_connection(("127.0.0.1", local.port)))
        time.sleep(0.2)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            local.ask("/healthz")
    time.sleep(0.2)
    assert local.ask("/healthz").status == 200
