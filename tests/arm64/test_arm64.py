"""The built wheel on emulated Raspberry Pis: its own tests, and the same integers as here.

`make test-arm64` runs it, `make test` does not: it downloads. It never skips.
"""

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from arm64.emulator import (
    BOARDS,
    ENGINES,
    PI_4,
    PI_5,
    PI_5_TRIXIE,
    PI_32_BIT,
    PROJECT,
    TFLITE_RUNTIME,
    Board,
    Emulator,
    install_engines,
    pinned,
    unpack_runtime,
)
from narrow import array

from tinsmith_runtime import load, read_bundle

TESTS = PROJECT / "tests"
TINY = TESTS / "data" / "tiny.tin"
CHECK = Path(__file__).with_name("check.py")
RANDOM_VECTORS = 500

# LiteRT's int8 arithmetic is exact by its specification. ONNX Runtime's rescaling in float32 may
# round a tie the other way in another kernel; so do the kernels of tflite_runtime, which are older.
MAX_LSB = {"litert": 0, "onnx": 1}
MAX_LSB_32_BIT = {"litert": 1}
# Whether the CPU has the dot-product instructions: a Pi 4 has not, and traps on them.
DOT_PRODUCT = {PI_4: False, PI_5: True, PI_5_TRIXIE: True, PI_32_BIT: None}
# A Pi 5 differs from a Pi 4 in the instructions of its engines alone; it takes the threads over.
ENGINE_TESTS = ("selftest", "threads")
# What does not need both engines; hypothesis before tflite_runtime, which switches subnormal floats
# off when it is imported.
TESTS_32_BIT = (
    "record", "manifest", "activation", "archive", "bundle", "cpu", "errors", "golden", "image",
    "init", "quiet", "signature",
)  # fmt: skip
# These do the same whatever engine, CPU, numpy or Pillow there is: records of an installed folder,
# locks, names of files, mutated bytes. All of them run on this machine.
NOT_ON_A_BOARD = (
    "faults", "fuzz", "install", "lock", "mutated_models", "policy", "probe", "spec",
    "strange_files", "threads", "trial", "wheel",
    # There is no web server.
    "serve", "serve_access", "serve_load", "serve_page", "serve_parts",
)  # fmt: skip
INSTALL = TESTS / "runtime" / "test_install.py::test_install_and_rollback"
RUNTIME_TESTS = {
    PI_4: [
        *(
            file
            for file in sorted(TESTS.glob("runtime/test_*.py"))
            if file.stem.removeprefix("test_") not in NOT_ON_A_BOARD
        ),
        INSTALL,
    ],
    PI_5: [TESTS / "runtime" / f"test_{name}.py" for name in ENGINE_TESTS],
    PI_32_BIT: [
        *(TESTS / "runtime" / f"test_{name}.py" for name in TESTS_32_BIT),
        INSTALL,
    ],
}
# Somewhat fewer than there are: the number is there to see that they ran.
LEAST_PASSED = {PI_4: 400, PI_5: 30, PI_32_BIT: 250}
# The first board has most to do: two emulators share its files, so that no CPU waits for the other.
SHARES = {PI_4: 2, PI_5: 1, PI_32_BIT: 1}

every_board = pytest.mark.parametrize("board", BOARDS, ids=str)


@pytest.fixture(scope="session")
def emulators(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Board, Emulator]:
    folder = tmp_path_factory.mktemp("boards")
    site = unpack_runtime(wheel, folder / "site")
    return {
        board: Emulator(board, folder / str(i), [site, install_engines(board)])
        for i, board in enumerate(BOARDS)
    }


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Golden and random inputs, and what this machine's engines give for them."""
    golden = read_bundle(TINY).golden().inputs
    shape = (RANDOM_VECTORS, *array(golden).shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    arrays: dict[str, Any] = {"inputs": np.concatenate([golden, noise])}
    for name in MAX_LSB:
        with load(TINY, name) as model:
            arrays[name] = model.predict_raw(arrays["inputs"])
    path = tmp_path_factory.mktemp("vectors") / "vectors.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session", autouse=True)
def runtime_tests(
    emulators: dict[Board, Emulator], tmp_path_factory: pytest.TempPathFactory
) -> dict[Board, list[Future[CompletedProcess[str]]]]:
    """The runtime's own tests, on as many emulators at once as there are CPUs.

    They begin before all else, and all else that `tests/arm64` tests runs beside them.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    settings = ("-c", PROJECT / "pyproject.toml", "--confcutdir", TESTS / "runtime")
    plugins = ("-p", "arm64.board", "-p", "no:cacheprovider")

    def begin(board: Board, files: list[Path]) -> Future[CompletedProcess[str]]:
        scratch = ("--basetemp", tmp_path_factory.mktemp("board") / "tests")
        # What numpy 1.24 says of a hostile header, and later ones refuse.
        quiet = ("-W", "ignore:Passing:FutureWarning")
        words = ("-m", "pytest", "-q", *quiet, *settings, *plugins, *scratch, *files)
        run: Callable[..., CompletedProcess[str]] = emulators[board].run
        return pool.submit(run, *words, timeout_s=1500, PYTHONPATH=str(TESTS))

    return {
        board: [begin(board, files[first :: SHARES[board]]) for first in range(SHARES[board])]
        for board, files in RUNTIME_TESTS.items()
    }


@every_board
def test_selftest(board: Board, emulators: dict[Board, Emulator]) -> None:
    done = emulators[board].run("-m", "tinsmith_runtime", "selftest", TINY)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    if board is PI_32_BIT:
        (line,) = lines
        assert line.startswith("tflite_runtime 2.14.0 on ")
        # Its kernels are older: an output may be 1 LSB off, which the self-test then says.
        assert re.search(r": \d+ of 32 golden vectors equal to the bit", line)
    else:
        assert len(lines) == len(MAX_LSB)
        assert all("32 of 32 golden vectors equal to the bit" in line for line in lines)
    assert all(line.endswith(": passed") for line in lines)


@every_board
def test_same_integers_as_here(
    board: Board, emulators: dict[Board, Emulator], vectors: Path, say: Callable[[str], None]
) -> None:
    done = emulators[board].run(CHECK, TINY, vectors)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    say(f"{board}: {json.dumps(found['engines'])}")
    assert found["machine"] == ("armv7l" if board is PI_32_BIT else "aarch64")
    assert found["python"].startswith(f"{board.python}.")
    assert found["dot_product"] == DOT_PRODUCT[board]
    limits = MAX_LSB_32_BIT if board is PI_32_BIT else MAX_LSB
    assert found["engines"].keys() == limits.keys()
    for name, engine in found["engines"].items():
        assert engine["outputs"] == len(np.load(vectors)[name].ravel())
        assert engine["max_lsb"] <= limits[name], engine
    versions = {engine["version"].split()[-1] for engine in found["engines"].values()}
    wheels = [TFLITE_RUNTIME] if board is PI_32_BIT else pinned(*ENGINES[1:])
    assert versions == {wheel.partition("==")[2] for wheel in wheels}


@pytest.mark.parametrize("board", RUNTIME_TESTS, ids=str)
def test_runtime_tests(
    board: Board,
    runtime_tests: dict[Board, list[Future[CompletedProcess[str]]]],
    say: Callable[[str], None],
) -> None:
    total = 0
    for share in runtime_tests[board]:
        done = share.result()
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
        summary = done.stdout.splitlines()[-1]
        say(f"{board}: {summary}")
        for line in re.findall(r"^SKIPPED.*$", done.stdout, re.MULTILINE):
            say(f"  {line}")
        passed = re.search(r"(\d+) passed", summary)
        assert passed
        total += int(passed[1])
    assert total >= LEAST_PASSED[board]
