"""The built wheel on an emulated Raspberry Pi: the same integers as on this machine.

`make test-arm64` runs it, `make test` does not: it downloads. It never skips.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from arm64.emulator import PROJECT, Emulator, MissingError, build_runtime, pinned_wheels

from tinsmith_runtime import load, read_bundle

TINY = PROJECT / "tests" / "data" / "tiny.tin"
CHECK = Path(__file__).with_name("check.py")
RANDOM_VECTORS = 500
# LiteRT's int8 arithmetic is exact by its specification. ONNX Runtime's rescaling in float32 may
# round a tie the other way in another kernel.
MAX_LSB = {"litert": 0, "onnx": 1}
# Whether the CPU has the dot-product instructions: a Pi 4 has not, and traps on them.
DOT_PRODUCT = {"cortex-a72": False, "cortex-a76": True}
BOARDS = [("cortex-a72", "3.11"), ("cortex-a76", "3.11"), ("cortex-a76", "3.13")]


@pytest.fixture(scope="module")
def emulators() -> dict[str, Emulator]:
    try:
        return {python: Emulator(python) for _, python in BOARDS}
    except MissingError as error:
        reason = f"the emulated Pi cannot be made; missing is {error}"
        raise pytest.fail.Exception(reason, pytrace=False) from None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_runtime(tmp_path_factory.mktemp("wheel"))
    except MissingError as error:
        reason = f"the wheel cannot be built; missing is {error}"
        raise pytest.fail.Exception(reason, pytrace=False) from None


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden and random inputs, and what this machine's engines give for them."""
    golden = read_bundle(TINY).golden().inputs
    shape = (RANDOM_VECTORS, *golden.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    arrays = {"inputs": np.concatenate([golden, noise])}
    for name in MAX_LSB:
        with load(TINY, name) as model:
            arrays[name] = model.predict_raw(arrays["inputs"])
    path = tmp_path_factory.mktemp("vectors") / "vectors.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(("cpu", "python"), BOARDS)
def test_selftest(cpu: str, python: str, emulators: dict[str, Emulator], site: Path) -> None:
    done = emulators[python].run(cpu, ["-m", "tinsmith_runtime", "selftest", TINY], site)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("32 of 32 golden vectors equal to the bit") == len(MAX_LSB)


@pytest.mark.parametrize(("cpu", "python"), BOARDS)
def test_same_integers_as_here(
    cpu: str, python: str, emulators: dict[str, Emulator], site: Path, vectors: Path
) -> None:
    done = emulators[python].run(cpu, [CHECK, TINY, vectors], site)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    board = json.loads(done.stdout)
    assert board["machine"] == "aarch64"
    assert board["python"].startswith(f"{python}.")
    assert board["dot_product"] == DOT_PRODUCT[cpu]
    assert board["engines"].keys() == MAX_LSB.keys()
    for name, engine in board["engines"].items():
        assert engine["outputs"] == len(np.load(vectors)[name].ravel())
        assert engine["max_lsb"] <= MAX_LSB[name], engine
    pinned = pinned_wheels()
    versions = {engine["version"].split()[-1] for engine in board["engines"].values()}
    assert versions == {pinned["ai-edge-litert"], pinned["onnxruntime"]}
