"""`tinsmith serve` in a process of its own, as a test asks it over HTTP."""

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Body = bytes | Iterator[bytes] | None


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> str:
        """The one line of an error."""
        said = self.json()
        assert set(said) == {"error"}, said
        assert "\n" not in said["error"]
        assert "Traceback" not in said["error"]
        return str(said["error"])


@dataclass
class Server:
    """A server that listens.

    Attributes:
        url: of the page, with the token if there is one.
        process: that runs it.
    """

    url: str
    process: "subprocess.Popen[str]"

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    @property
    def token(self) -> str:
        return urlsplit(self.url).query.removeprefix("token=")

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(
        self,
        path: str,
        body: Body = None,
        kind: str | None = None,
        method: str | None = None,
        **headers: str,
    ) -> Reply:
        """Asks for a path, as POST where there is a body; `_` in a header's name is a dash."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if kind:
            named["Content-Type"] = kind
        connection = self.connect()
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()

    def ask_json(self, tree: object, path: str = "/v1/predict") -> Reply:
        return self.ask(path, json.dumps(tree).encode(), "application/json")

    def memory_kib(self) -> int:
        """What the process has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Sends a signal; gives the exit status, and what was said on stderr."""
        self.process.send_signal(number)
        stderr = self.process.communicate(timeout=30)[1]
        return self.process.returncode, stderr


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "tinsmith_runtime", "serve", *map(str, words)]


@contextmanager
def serving(*words: object) -> Iterator[Server]:
    """Serves on a free port until the context ends, which a clean stop has to follow."""
    line = command(*words, "--port", "0", "--json")
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=environment)
    assert process.stdout
    said = process.stdout.readline()
    assert said, process.communicate()[1]
    server = Server(json.loads(said)["url"], process)
    try:
        yield server
        if process.returncode is None:
            assert process.poll() is None, process.communicate()[1]
            stopped = server.stop()
            assert stopped == (0, ""), stopped
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """A grey PNG; without `rows` all black."""

    def part(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    rows = bytes(1 + width) * height if rows is None else rows
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
