"""Runs on the board: compares its int8 outputs with those of another machine.

Usage: `python check.py BUNDLE VECTORS`, where `VECTORS` is an `.npz` of `inputs`, `uint8
(N, H, W, C)`, and for each engine `int8 (N, classes)` under the engine's name. Prints one JSON
object: what this machine is, whether ONNX Runtime's kernels for int8 weights can overflow on it,
and for each engine how far its outputs are from those.
"""

import ctypes
import json
import platform
import sys

import numpy as np

from tinsmith_runtime import installed_backends, load

_AT_HWCAP = 16
_HWCAP_ASIMDDP = 1 << 20


def main(bundle: str, vectors: str) -> None:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    with np.load(vectors) as arrays:
        expected = dict(arrays)
    inputs = expected.pop("inputs")
    engines = {}
    # Others may be installed, tinsmith-native for one, that `VECTORS` says nothing of.
    for name in filter(expected.__contains__, installed_backends()):
        with load(bundle, name) as model:
            difference = model.predict_raw(inputs).astype(np.int16) - expected[name]
        engines[name] = {
            "version": model.engine_version,
            "outputs": difference.size,
            "unequal": int(np.count_nonzero(difference)),
            "max_lsb": int(np.abs(difference).max()),
        }
    saturates = None
    if "onnx" in engines:
        from tinsmith_runtime.backends import ort

        saturates = ort.saturates()
    arm64 = platform.machine() == "aarch64"
    machine = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "dot_product": bool(getauxval(_AT_HWCAP) & _HWCAP_ASIMDDP) if arm64 else None,
    }
    print(json.dumps({**machine, "saturates": saturates, "engines": engines}))


if __name__ == "__main__":
    main(*sys.argv[1:])
