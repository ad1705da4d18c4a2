"""sha256, on OpenSSL only where there is enough to hash."""

import importlib
import sys
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
    """Python's own, which a distribution may have left out."""
    try:
        module = importlib.import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    except ImportError:
        return None
    found: Callable[[bytes], Any] = module.sha256
    return found


_BUILT_IN = _find_built_in()
