"""The C library's heap, which TensorFlow's tensors lie in."""

import ctypes
import gc
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


def give_back_memory() -> None:
    """Frees what only cycles of Python objects hold, and gives freed memory back to the system.

    Of what a conversion leaves that is hundreds of megabytes: TensorFlow's graphs refer to
    themselves. With another C library than glibc memory is freed, and may be kept.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
