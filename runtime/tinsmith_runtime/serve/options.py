"""What `serve` is told."""

from dataclasses import dataclass
from pathlib import Path

from tinsmith_runtime.errors import UsageError

MAX_WORKERS = 64


@dataclass(frozen=True)
class ServeOptions:
    """How a bundle is served.

    Attributes:
        bundle: a `.tin` file or a folder, also one that `install` made.
        host: the address to listen on; beyond this machine a token is asked for.
        port: 0 takes a free one.
        token_file: holds the token, and is made if there is none; `None` makes one up at each
            start where one is needed.
        allow_hosts: more names that a browser may call this machine by; a token is asked for.
        camera: the number of a camera of this machine, or a video; `None` shows none.
        workers: how many predictions are computed at once, each on a model of its own.
        backend: as `load` takes it.
        threads: of each worker's engine.
        trusted_keys: as `load` takes them.
        max_body_bytes: of a request's body.
        timeout_s: how long a request may take, from its headers to the end of its answer.
    """

    bundle: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    camera: str | None = None
    workers: int = 1
    backend: str = "auto"
    threads: int = 1
    trusted_keys: tuple[Path, ...] | None = None
    max_body_bytes: int = 16 << 20
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuses numbers that no server can keep to."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port: expected 0 to 65535, got {self.port}")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"--workers: expected 1 to {MAX_WORKERS}, got {self.workers}")
        if not 1 << 10 <= self.max_body_bytes <= 1 << 27:
            raise UsageError(
                f"--max-body-kib: expected 1 to 131072, got {self.max_body_bytes >> 10}"
            )
        if not 0 < self.timeout_s <= 3600:
            raise UsageError(
                f"--timeout: expected seconds, above 0 and up to 3600, got {self.timeout_s:g}"
            )
