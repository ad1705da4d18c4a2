"""How fast libtinsmith's kernels are, layer by layer: microseconds, and multiply-accumulates a ns.

Beside them the most that this CPU can multiply, measured in the same run. One thread, the
fastest of many calls. Weights are random, as wide as those of trained layers with 8 bits are.

    .venv/bin/python benchmarks/kernels.py [--isa avx2] [MODEL...]
"""

import argparse
import ctypes
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
ISAS = ("portable", "avx2", "avxvnni", "avx512vnni", "neon", "neondot")
_SIZES = [
    *("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel_h", "kernel_w"),
    *("stride_h", "stride_w", "dilation_h", "dilation_w", "pad_top", "pad_left", "groups"),
    *("in_zero", "out_zero", "out_min", "out_max"),
]


class _Product(ctypes.Structure):
    """`struct tin_product`."""

    _fields_ = [(name, ctypes.c_int32) for name in _SIZES] + [
        (name, ctypes.c_void_p) for name in ("weights", "bias", "scale")
    ]


_SIZE = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.POINTER(_Product))


class _Kernel(ctypes.Structure):
    """`struct tin_kernel`; `run` is called from C alone."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("serves", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Product))),
        ("packed_bytes", _SIZE),
        ("pack", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Product), ctypes.c_void_p)),
        ("scratch_bytes", _SIZE),
        ("run", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class Layer:
    """A convolution with `same` padding; dense is one of 1 x 1 pixels."""

    height: int
    width: int
    inputs: int
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    depthwise: bool = False

    @property
    def rows(self) -> int:
        """Of the output."""
        return -(-self.height // self.stride)

    @property
    def columns(self) -> int:
        """Of the output."""
        return -(-self.width // self.stride)

    @property
    def depth(self) -> int:
        """Input channels that an output reads."""
        return 1 if self.depthwise else self.inputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        taps = self.kernel[0] * self.kernel[1] * self.depth
        return self.rows * self.columns * self.outputs * taps

    def __str__(self) -> str:
        kind = "depthwise" if self.depthwise else "conv"
        sizes = f"{self.height}x{self.width}x{self.inputs} -> {self.outputs}"
        return f"{kind} {sizes}, {self.kernel[0]}x{self.kernel[1]}, stride {self.stride}"


def dense(inputs: int, outputs: int) -> Layer:
    """A dense layer."""
    return Layer(1, 1, inputs, outputs, (1, 1))


def _separable(size: int, inputs: int, outputs: int, stride: int) -> list[Layer]:
    after = -(-size // stride)
    return [
        Layer(size, size, inputs, inputs, stride=stride, depthwise=True),
        Layer(after, after, inputs, outputs, (1, 1)),
    ]


def _vww() -> Iterator[Layer]:
    yield Layer(96, 96, 3, 8, stride=2)
    size, inputs = 48, 8
    tail = [(128, 1)] * 5 + [(256, 2), (256, 1)]
    for outputs, stride in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *tail]:
        yield from _separable(size, inputs, outputs, stride)
        size, inputs = -(-size // stride), outputs
    yield dense(256, 2)


_KEYWORD = [Layer(25, 5, 64, 64, depthwise=True), Layer(25, 5, 64, 64, (1, 1))]
_WIDTHS = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
MODELS = {
    "resnet8": [
        *(Layer(32, 32, 3, 16), Layer(32, 32, 16, 16), Layer(32, 32, 16, 16)),
        *(Layer(32, 32, 16, 32, stride=2), Layer(16, 16, 32, 32)),
        *(Layer(32, 32, 16, 32, (1, 1), 2), Layer(16, 16, 32, 64, stride=2)),
        *(Layer(8, 8, 64, 64), Layer(16, 16, 32, 64, (1, 1), 2), dense(64, 10)),
    ],
    "vww": list(_vww()),
    "keywords": [Layer(49, 10, 1, 64, (10, 4), 2), *_KEYWORD * 4, dense(64, 12)],
    "autoencoder": [dense(*pair) for pair in pairwise(_WIDTHS)],
}


class Kernels:
    """The kernels, built for this machine."""

    def __init__(self, folder: Path) -> None:
        cmake = ROOT / "runtime/native/kernels.cmake"
        source = ["-S", str(ROOT / "tests/kernels"), "-B", str(folder), f"-DKERNELS={cmake}"]
        for words in (source, ["--build", str(folder), "--target", "kernels"]):
            subprocess.run(["cmake", *words], check=True, stdout=subprocess.DEVNULL)
        self._library = ctypes.CDLL(str(folder / "libkernels.so"))
        self._library.measure_kernel.restype = self._library.measure_peak.restype = ctypes.c_double
        table = ctypes.POINTER(ctypes.POINTER(_Kernel))
        self._library.tin_product_kernels.restype = table

    def peak(self) -> float:
        """Multiply-accumulates a ns that the CPU could do, 0 if that is not known."""
        return float(self._library.measure_peak(3000))

    def detected(self) -> str:
        """The instruction set that would be chosen here."""
        return ISAS[self._library.tin_isa_detect()]

    def measure(self, layer: Layer, isa: str, repeats: int = 1000) -> Iterator[tuple[str, float]]:
        """Each kernel of `isa` that serves a layer, and its ns; the best comes first."""
        product, kept = _product(layer)
        table, at = self._library.tin_product_kernels(ISAS.index(isa)), 0
        while table[at]:
            kernel = table[at].contents
            at += 1
            if kernel.serves(product):
                packed, scratch = (
                    _aligned(size(product)) for size in (kernel.packed_bytes, kernel.scratch_bytes)
                )
                out = _aligned(layer.rows * layer.columns * layer.outputs)
                kernel.pack(product, packed.ctypes.data)
                tensors = [array.ctypes.data for array in (packed, kept[0], out, scratch)]
                words = [ctypes.c_void_p(address) for address in tensors]
                once = ctypes.byref(kernel), ctypes.byref(product), *words
                yield kernel.name.decode(), self._library.measure_kernel(*once, repeats)


def _aligned(size: int) -> NDArray[np.uint8]:
    """`uint8 (size,)` at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def _product(layer: Layer) -> tuple[_Product, list[NDArray[Any]]]:
    """The struct, and the arrays that it points to; the first is the input."""
    rng = np.random.default_rng(0)
    around = [
        max((outputs - 1) * layer.stride + taps - inputs, 0) // 2
        for outputs, taps, inputs in zip(
            (layer.rows, layer.columns), layer.kernel, (layer.height, layer.width), strict=True
        )
    ]
    shape = layer.outputs, *layer.kernel, layer.depth
    codes = _aligned(layer.height * layer.width * layer.inputs)
    codes[:] = rng.integers(0, 256, codes.size)
    weights = np.clip(rng.normal(0, 36, shape), -127, 127).astype(np.int8)
    bias = rng.integers(-5000, 5000, layer.outputs).astype(np.int32)
    scale = np.full(layer.outputs, 1e-3, np.float32)
    groups = layer.inputs if layer.depthwise else 1
    sizes = [
        *(layer.height, layer.width, layer.inputs, layer.rows, layer.columns, layer.outputs),
        *(*layer.kernel, layer.stride, layer.stride, 1, 1, *around, groups, -128, -128, -128, 127),
    ]
    kept: list[NDArray[Any]] = [codes, weights, bias, scale]
    return _Product(*sizes, *(array.ctypes.data for array in kept[1:])), kept


def main() -> None:
    """Prints a line for each layer, and the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *MODELS], default=[])
    parser.add_argument("--isa", choices=ISAS, help="the instruction set (the best of this CPU)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kernels = Kernels(Path(folder))
        isa, peak = options.isa or kernels.detected(), kernels.peak()
        print(f"{isa}; at most {peak:.1f} MAC/ns")
        for name in options.models or MODELS:
            total = 0.0
            for layer in MODELS[name]:
                found = list(kernels.measure(layer, isa))[: -1 if isa != "portable" else None]
                times = "  ".join(
                    f"{kernel} {ns / 1e3:.2f} us ({layer.macs / ns:.1f} MAC/ns)"
                    for kernel, ns in found
                )
                print(f"{layer}: {times}")
                total += found[0][1]
            macs = sum(layer.macs for layer in MODELS[name])
            share = f", {100 * macs / total / peak:.0f} % of the most" if peak else ""
            print(f"== {name}: {total / 1e3:.1f} us, {macs / total:.1f} MAC/ns{share}\n")


if __name__ == "__main__":
    main()
