"""Weights of 8 bits on emulated x86 CPUs: one without VNNI, one without AVX.

This machine's own Python runs under QEMU, so the CPU alone is another. QEMU emulates no VNNI.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from arm64.emulator import qemu
from narrow import array

from tinsmith_runtime import load, read_bundle

DATA = Path(__file__).parents[1] / "data"
CHECK = Path(__file__).with_name("check.py")
# Whether ONNX Runtime's kernels for int8 weights add pairs of products in 16 bits.
SATURATES = {"Haswell-v2": True, "Nehalem-v1": False}

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the emulated CPU runs this machine's Python: x86_64"
)


@pytest.mark.parametrize("bundle", ["tiny", "eight"])
@pytest.mark.parametrize("cpu", SATURATES)
def test_same_integers_as_here(cpu: str, bundle: str, tmp_path: Path) -> None:
    path, vectors = DATA / f"{bundle}.tin", tmp_path / "vectors.npz"
    golden = read_bundle(path).golden()
    shape = (500, *array(golden.inputs).shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    inputs = np.concatenate([array(golden.inputs), noise])
    with load(path, "litert") as model:
        outputs = model.predict_raw(inputs)
    np.testing.assert_array_equal(outputs[: len(array(golden.inputs))], golden.outputs_int8)
    np.savez(vectors, inputs=inputs, litert=outputs, onnx=outputs)
    words = [qemu("qemu-x86_64"), "-cpu", cpu, sys.executable, CHECK, path, vectors]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["saturates"] is SATURATES[cpu]
    assert {name: engine["unequal"] for name, engine in found["engines"].items()} == {
        "litert": 0,
        "onnx": 0,
    }
