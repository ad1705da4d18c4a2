"""Who may ask: the names of this machine, the page's own origin, the token."""

import ipaddress
import os
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import read_regular

_TOKEN_BYTES = 24
_MIN_TOKEN, _MAX_TOKEN = 16, 512


@dataclass(frozen=True)
class Access:
    """What a request must show.

    Attributes:
        token: `None` where none is asked for.
        names: by which a browser may call this machine; addresses are taken besides.
        cookie: the name of the cookie that holds the token; cookies do not tell ports apart.
    """

    token: str | None
    names: frozenset[str]
    cookie: str

    def knows_host(self, headers: Headers) -> bool:
        """Whether the request names this machine.

        A page of a foreign name that was made to lead here (DNS rebinding) names another. It
        cannot do so by an address.
        """
        host = _without_port(headers.get("host", ""))
        return host in self.names or _is_address(host)

    def same_origin(self, headers: Headers) -> bool:
        """Whether no other page sends the request; a program says nothing of a page."""
        origin = headers.get("origin")
        return origin is None or origin.partition("://")[2] == headers.get("host")

    def admits(self, headers: Headers) -> bool:
        """Whether the request has the token, as a bearer's or in the cookie."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return self.is_token(cookie_parser(headers.get("cookie", "")).get(self.cookie, ""))

    def is_token(self, given: str) -> bool:
        """Compares in a time that tells nothing of where the two differ."""
        return self.token is not None and secrets.compare_digest(
            given.encode(), self.token.encode()
        )


def access_to(
    bound: socket.socket, host: str, allow_hosts: Collection[str], token_file: Path | None
) -> Access:
    """Decides what a server on this socket asks for.

    Raises:
        UsageError: the token file holds no token.
        OSError: it cannot be read or made.
    """
    address, port = bound.getsockname()[:2]
    names = {"localhost", host.lower(), *(name.lower() for name in allow_hosts)}
    local = ipaddress.ip_address(address.partition("%")[0]).is_loopback
    if not local:
        own = socket.gethostname().lower()
        names |= {own, f"{own}.local"}
    token = None
    if token_file is not None:
        token = _kept_token(token_file)
    elif not local or allow_hosts:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    return Access(token, frozenset(names), f"tinsmith-{port}")


def _kept_token(path: Path) -> str:
    try:
        # Never another's file, and readable by nobody else.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        token = read_regular(path, _MAX_TOKEN).decode("ascii", "replace").strip()
        if len(token) < _MIN_TOKEN or not token.isprintable() or set(token) & set(' ",;\\�'):
            raise UsageError(
                f"{path}: expected a token of at least {_MIN_TOKEN} letters, digits, - and _"
            ) from None
        return token
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with os.fdopen(file, "w") as stream:
        stream.write(token + "\n")
    return token


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    whole = not colon or (port and not port.isdigit()) or host.endswith("]")
    return (host.lower() if whole else name).removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
