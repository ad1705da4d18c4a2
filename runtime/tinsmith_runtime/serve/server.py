"""uvicorn as this server needs it: its socket, its signals, its limits on connections."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.serve.access import Access, access_to
from tinsmith_runtime.serve.app import PATHS, make_app
from tinsmith_runtime.serve.guard import Guard
from tinsmith_runtime.serve.options import ServeOptions
from tinsmith_runtime.serve.service import Service

_MAX_CONNECTIONS = 256
_HEADERS_S = 10.0  # for the headers of a request; uvicorn itself would wait for ever
_MAX_HEADER_BYTES = 16 << 10
_STOP_S = 10


def serve(options: ServeOptions, ready: Callable[[str, Service], None]) -> None:
    """Serves a bundle until a signal ends it: SIGINT or SIGTERM; SIGHUP loads the bundle anew.

    Args:
        options: what to serve, and where.
        ready: is called once the server listens, with the page's URL.

    Raises:
        TinsmithError: the bundle does not load, the address is taken or is not of this machine.
    """
    with _listen(options.host, options.port) as bound:
        access = access_to(bound, options.host, options.allow_hosts, options.token_file)
        service = Service(options)
        app = Guard(make_app(service), access, service.metrics, PATHS, options.timeout_s)
        config = Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="critical",  # whoever connects could fill the log with the rest
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_STOP_S,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
        )
        try:
            url = _url(bound, options.host, access)
            _Server(config, service, lambda: ready(url, service)).run([bound])
        finally:
            service.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise TinsmithError(
            f"{host}, port {port}: {said}; choose others with --host and --port"
        ) from error


def _url(bound: socket.socket, host: str, access: Access) -> str:
    address, port = bound.getsockname()[:2]
    if address in ("0.0.0.0", "::"):
        host = _own_address() or socket.gethostname()
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={access.token}" if access.token else "")


def _own_address() -> str | None:
    """The address by which others reach this machine, where it has a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; an address for documents (RFC 5737)
        except OSError:
            return None
        return str(probe.getsockname()[0])


class _Server(Server):
    """Stops by a signal without dying of it, and reloads."""

    def __init__(self, config: Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, and says so."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Has the event loop receive the signals, where it can."""
        if sys.platform == "win32":
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        yield

    def _reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._service.reload())
        self.server_state.tasks.add(task)  # what a stop waits for
        task.add_done_callback(self.server_state.tasks.discard)


class _Protocol(H11Protocol):
    """Closes connections that ask for nothing, or drop by drop, and those that are too many."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > _MAX_CONNECTIONS:
            transport.abort()
            return
        self._watch = self.loop.call_later(_HEADERS_S, self._close_idle, None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._watch:
            self._watch.cancel()

    def _close_idle(self, seen: object) -> None:
        """Closes unless a request came since the last look, or is being answered."""
        if self.transport.is_closing():
            self.transport.abort()  # its answer was not read
            return
        if self.cycle is seen and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        self._watch = self.loop.call_later(_HEADERS_S, self._close_idle, self.cycle)
