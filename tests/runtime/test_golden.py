import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray

from tinsmith_runtime import Bundle, BundleError, read_bundle

GOOD: dict[str, NDArray[Any]] = {
    "inputs": np.zeros((32, 8, 8, 1), np.uint8),
    "outputs_int8": np.zeros((32, 3), np.int8),
    "outputs_float": np.zeros((32, 3), np.float32),
}


def _npz(arrays: dict[str, np.ndarray], save: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def test_read(bundle: Bundle) -> None:
    golden = bundle.golden()
    assert array(golden.inputs).shape == (32, 8, 8, 1)
    assert array(golden.inputs).dtype == np.uint8
    assert array(golden.outputs_int8).shape == (32, 3)
    with np.load(io.BytesIO(bundle.files["golden.npz"])) as npz:
        for name in npz.files:
            np.testing.assert_array_equal(getattr(golden, name), npz[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((31, 8, 8, 1), np.uint8)}, r"inputs: expected uint8 \(32, 8, 8, 1\)"),
        ({"outputs_int8": np.zeros((32, 4), np.int8)}, r"outputs_int8: expected int8 \(32, 3\), g"),
        ({"outputs_int8": np.zeros((32, 3), np.uint8)}, "outputs_int8: expected int8 .*got uint8"),
        ({"outputs_float": np.zeros((32, 3))}, "outputs_float: expected float32 .*got float64"),
        ({"outputs_float": np.zeros((3, 32), np.float32).T}, "outputs_float: expected float32"),
        (
            {"inputs": np.zeros(10**6, np.uint8)},
            "inputs.npy: expected at most 3072 bytes, got 1000",
        ),
    ],
)
def test_wrong_arrays(
    forge: Callable[..., Path], changes: dict[str, NDArray[Any]], message: str
) -> None:
    path = forge({"golden.npz": _npz({**GOOD, **changes})})
    with pytest.raises(BundleError, match=rf"golden\.npz: {message}"):
        read_bundle(path).golden()


def test_missing_array(forge: Callable[..., Path]) -> None:
    arrays = {name: array for name, array in GOOD.items() if name != "inputs"}
    with pytest.raises(BundleError, match=r"golden\.npz: inputs\.npy: missing"):
        read_bundle(forge({"golden.npz": _npz(arrays)})).golden()


def test_compressed(forge: Callable[..., Path]) -> None:
    path = forge({"golden.npz": _npz(GOOD, np.savez_compressed)})
    with pytest.raises(BundleError, match=r"golden\.npz: inputs\.npy: expected it uncompressed"):
        read_bundle(path).golden()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,)}\n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (32, 8, 8, 1)}\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (32, 8, 8, 1)}\n",
        b"{'descr': [('a',\n",
        b"-" * 900 + b"1\n",
        b"",
    ],
    ids=["huge", "objects", "nothing after it", "unfinished", "deep", "empty"],
)
def test_hostile_array(
    forge: Callable[..., Path], zipped: Callable[..., bytes], header: bytes
) -> None:
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(BundleError, match=r"golden\.npz: inputs: expected"):
        read_bundle(forge({"golden.npz": zipped({"inputs.npy": npy})})).golden()


@pytest.mark.parametrize("data", [b"text", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18)])
def test_no_npz(forge: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(BundleError, match=r"golden\.npz: "):
        read_bundle(forge({"golden.npz": data})).golden()
