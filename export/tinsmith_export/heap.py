"""The C library's heap, which TensorFlow's tensors lie in."""

import ctypes
import sys

# Numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Has glibc keep up to 256 MiB that are freed, for the whole process.

    Else a tensor of tens of megabytes is given back and taken anew at every layer, and the system
    clears each page of it again. See `docs/decisions/freed-memory-is-kept.md`. With another C
    library nothing happens.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that it takes
        library.mallopt(_M_TRIM_THRESHOLD, 2**28)
