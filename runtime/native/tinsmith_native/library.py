"""The functions of the shared library, through `ctypes`; `include/tinsmith.h` describes them."""

from __future__ import annotations

import ctypes as c
from pathlib import Path

MAX_RANK = 6


class Tensor(c.Structure):
    """`tin_tensor`."""

    _fields_ = (
        ("name", c.c_void_p),
        ("name_bytes", c.c_uint32),
        ("rank", c.c_uint32),
        ("shape", c.c_uint32 * MAX_RANK),
        ("scale", c.c_float),
        ("zero_point", c.c_int32),
        ("bytes", c.c_uint32),
        ("memory", c.c_void_p),
    )


class OperatorInfo(c.Structure):
    """`tin_operator_info`."""

    _fields_ = (
        ("name", c.c_void_p),
        ("name_bytes", c.c_uint32),
        ("kind", c.c_char_p),
        ("kernel", c.c_char_p),
        ("is_float", c.c_int),
    )


_COUNT, _MODEL, _POINTER = c.c_uint32, c.c_void_p, c.c_void_p
# Each function's result and arguments.
_FUNCTIONS = {
    "tin_error_text": (c.c_char_p, c.c_int),
    "tin_version": (c.c_char_p,),
    "tin_load": (c.c_int, c.c_char_p, c.c_size_t, _COUNT, c.POINTER(_MODEL)),
    "tin_find_plan": (c.c_int, c.c_char_p, c.c_size_t, c.POINTER(_MODEL), c.POINTER(c.c_size_t)),
    "tin_free": (None, _MODEL),
    "tin_input_count": (_COUNT, _MODEL),
    "tin_output_count": (_COUNT, _MODEL),
    "tin_input": (c.c_int, _MODEL, _COUNT, c.POINTER(Tensor)),
    "tin_output": (c.c_int, _MODEL, _COUNT, c.POINTER(Tensor)),
    "tin_operator_count": (_COUNT, _MODEL),
    "tin_operator": (c.c_int, _MODEL, _COUNT, c.POINTER(OperatorInfo)),
    "tin_work": (c.c_uint64, _MODEL),
    "tin_memory": (c.c_size_t, _MODEL),
    "tin_run": (c.c_int, _MODEL, _POINTER, _POINTER, _COUNT, _COUNT, _POINTER),
}


def _open() -> c.CDLL:
    folder = Path(__file__).parent
    found = next((path for path in sorted(folder.glob("libtinsmith.*"))), None)
    if found is None:
        raise ImportError(f"{folder} holds no libtinsmith: install tinsmith-native again")
    library = c.CDLL(str(found))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _open()
