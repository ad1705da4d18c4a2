"""sha256, on OpenSSL only where there is enough to hash."""

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

# OpenSSL has the CPU's own instructions, but takes 4 MB and 3 ms to load: a tenth of what a small
# model needs in all.
_WORTH_OPENSSL_BYTES = 1 << 22


def sha256(data: bytes) -> str:
    """The sha256 of `data` as 64 hex digits."""
    if _BUILT_IN and len(data) < _WORTH_OPENSSL_BYTES:
        return str(_BUILT_IN(data).hexdigest())
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _find_built_in() -> Callable[[bytes], Any] | None:
    """Python's own: in `_sha2` since 3.12, in `_sha256` before; a distribution may have neither."""
    for module in ("_sha2", "_sha256"):
        with contextlib.suppress(ImportError):
            found: Callable[[bytes], Any] = importlib.import_module(module).sha256
            return found
    return None


_BUILT_IN = _find_built_in()
