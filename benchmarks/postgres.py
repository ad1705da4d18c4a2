"""A real PostgreSQL server with a folder of its own, for tests and measurements."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "not{a}%secret"  # characters that an URL, a template and alembic read
SETTINGS = """
listen_addresses = '*'
max_connections = 300
unix_socket_directories = ''
shared_preload_libraries = 'pg_stat_statements'
"""
# A host of these tests may be a network namespace, which has another address.
ACCESS = "host all all 0.0.0.0/0 scram-sha-256\n"


class MissingError(Exception):
    """What there must be to start a server."""


def programs() -> Path:
    """The folder of the newest `initdb` and `pg_ctl`.

    Raises:
        MissingError: there is none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise MissingError("no PostgreSQL server: initdb is not in /usr/lib/postgresql/*/bin")
    return Path(on_path).parent


def unprivileged() -> dict[str, Any]:
    """How `subprocess` starts a server, which refuses to run as root.

    Raises:
        MissingError: there is nobody else.
    """
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise MissingError("PostgreSQL does not run as root, and there is no user postgres or nobody")


@dataclass(frozen=True)
class Server:
    """A server on all addresses of this machine.

    Attributes:
        folder: its data, its log.
        port: where it listens.
    """

    folder: Path
    port: int

    def url(self, host: str = "127.0.0.1", password: str = PASSWORD, database: str = "") -> str:
        """Its address, for the user `tinsmith`."""
        from urllib.parse import quote

        name = database or "postgres"
        return f"postgresql://tinsmith:{quote(password, safe='')}@{host}:{self.port}/{name}"

    def control(self, *words: str) -> None:
        """Calls `pg_ctl` and waits for what it does."""
        command = [str(programs() / "pg_ctl"), "-D", str(self.folder / "data"), "-w", *words]
        with (self.folder / "control.log").open("ab") as log:
            subprocess.run(
                command, check=True, cwd="/", timeout=60, stdout=log, stderr=log, **unprivileged()
            )

    def start(self) -> None:
        """Starts it, or starts it again."""
        self.control("-l", str(self.folder / "log"), "-o", f"-p {self.port}", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `fast` ends all sessions, `immediate` is a crash."""
        self.control("-m", mode, "stop")


@contextmanager
def serving(settings: str = "") -> Iterator[Server]:
    """Gives a new server, and ends it.

    Raises:
        MissingError: what is missing to start one.
    """
    who = unprivileged()
    initdb = programs() / "initdb"
    folder = Path(tempfile.mkdtemp(prefix="tinsmith-postgres-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if who:
            for path in (folder, secret):
                os.chown(path, who["user"], who["group"])
        words = ["-D", str(folder / "data"), "-U", "tinsmith", "-A", "scram-sha-256"]
        words += ["--pwfile", str(secret), "--no-sync", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(
            [str(initdb), *words], cwd="/", capture_output=True, text=True, check=False, **who
        )
        assert done.returncode == 0, done.stderr
        for name, text in (("postgresql.conf", SETTINGS + settings), ("pg_hba.conf", ACCESS)):
            with (folder / "data" / name).open("a") as file:
                file.write(text)
        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        server = Server(folder, port)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)
