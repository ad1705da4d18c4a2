"""sha256, on OpenSSL only where there is enough to hash."""

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

# OpenSSL has the CPU's own instructions, but takes 4 MB and 3 ms to load: a tenth of what a small
# model needs in all.
_WORTH_OPENSSL_BYTES = 1 << 22


def sha256(data: bytes) -> str:
    """The sha256 of `data` as 64 hex digits."""
    return sha256_of((data,), len(data))


def sha256_of(pieces: Iterable[bytes], size_bytes: int) -> str:
    """The same of bytes that come in pieces, about `size_bytes` in all."""
    if _BUILT_IN and size_bytes < _WORTH_OPENSSL_BYTES:
        found = _BUILT_IN()
    else:
        import hashlib

        found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return str(found.hexdigest())


def _find_built_in() -> Callable[[], Any] | None:
    """Python's own, which a distribution may have left out."""
    try:
        module = importlib.import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    except ImportError:
        return None
    found: Callable[[], Any] = module.sha256
    return found


_BUILT_IN = _find_built_in()
