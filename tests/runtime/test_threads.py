"""Many threads on one model, a model for each worker, a fork, and a `close` at a bad time."""

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import some
from numpy.typing import NDArray

from tinsmith_runtime import Bundle, Model, UsageError, load, open_model
from tinsmith_runtime.executor import Engine, to_int8

THREADS = 8
PREDICTIONS = 2_000
# Forks with a loaded model; then both processes predict. The child ends as those of
# `multiprocessing` do, by `os._exit`: ONNX Runtime's own exit waits for a thread of the parent.
# Should it hang all the same, an alarm ends it.
FORK = """
import os, signal, sys
import numpy as np
from tinsmith_runtime import load
path, backend, threads, used, folder = sys.argv[1:]
model = load(path, backend, int(threads))
pixels = np.load(f"{folder}/pixels.npy")
if used == "used":
    model.predict_raw(pixels)
pid = os.fork()
signal.alarm(30)
np.save(f"{folder}/{'parent' if pid else 'child'}.npy", model.predict_raw(pixels))
if pid == 0:
    model.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize("precision", ["int8", "float"])
def test_threads_share_a_model(
    bundle: Bundle, engine: str, pixels: NDArray[np.uint8], precision: str
) -> None:
    """Batch sizes differ from call to call: the worst case, since the engine is resized."""
    predictions = PREDICTIONS if precision == "int8" else PREDICTIONS // 10
    with open_model(bundle, engine, precision=precision) as model:
        sizes = (1, 1, 1, 2, 3)
        expected = {
            (first, size): model.predict_raw(pixels[first : first + size])
            for first in range(16)
            for size in set(sizes)
        }
        barrier = threading.Barrier(THREADS)

        def work(worker: int) -> int:
            barrier.wait()
            wrong = 0
            for call in range(predictions):
                first, size = (worker + call) % 16, sizes[(worker + call) % len(sizes)]
                found = model.predict_raw(pixels[first : first + size])
                wrong += not np.array_equal(found, expected[first, size])
            return wrong

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(work, range(THREADS))) == [0] * THREADS


def test_calls_take_turns(
    bundle: Bundle, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(bundle)
    run = some(model._engine._backend).run
    inside, most = [], []

    def slow(batch: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.005)
        result = run(batch)
        inside.pop()
        return result

    monkeypatch.setattr(model._engine._backend, "run", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model.predict(pixels[:1]), range(12)))
    assert most == [1] * 12


def test_clone(tiny: Path, bundle: Bundle, engine: str, pixels: NDArray[np.uint8]) -> None:
    for precision in ("int8", "float"):
        model = load(tiny, engine, 2, precision)
        clone = model.clone()
        assert (clone.backend, clone.variant) == (model.backend, model.variant)
        assert clone.manifest == model.manifest
        assert clone._engine._threads == 2
        assert clone._engine._data is model._engine._data
        assert clone._engine._backend is not model._engine._backend
        expected = model.predict(pixels)
        model.close()
        np.testing.assert_array_equal(clone.predict(pixels), expected)
        with pytest.raises(UsageError, match="the model is closed: load the bundle again"):
            model.clone()
        clone.close()


def test_clone_for_each_worker(bundle: Bundle, engine: str, pixels: NDArray[np.uint8]) -> None:
    model = open_model(bundle, engine)
    expected = bundle.golden().outputs_int8

    def work(clone: Model) -> bool:
        with clone:
            return all(np.array_equal(clone.predict_raw(pixels), expected) for _ in range(50))

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, [model.clone() for _ in range(THREADS)]))
    np.testing.assert_array_equal(model.predict_raw(pixels), expected)


def test_close_waits_for_the_prediction(
    bundle: Bundle, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_model(bundle)
    run = some(model._engine._backend).run
    started, go_on = threading.Event(), threading.Event()

    def held(batch: Any) -> Any:
        started.set()
        assert go_on.wait(30)
        return run(batch)

    monkeypatch.setattr(model._engine._backend, "run", held)
    with ThreadPoolExecutor(2) as pool:
        prediction = pool.submit(model.predict_raw, pixels)
        assert started.wait(30)
        closing = pool.submit(model.close)
        time.sleep(0.05)
        assert not closing.done()
        go_on.set()
        np.testing.assert_array_equal(prediction.result(30), bundle.golden().outputs_int8)
        closing.result(30)
    with pytest.raises(UsageError, match="the model is closed: load the bundle again"):
        model.predict(pixels)


def test_close_among_predictions(bundle: Bundle, engine: str, pixels: NDArray[np.uint8]) -> None:
    """Each thread gets right results, then the error; nothing else."""
    expected = bundle.golden().outputs_int8
    for _ in range(5):
        model = open_model(bundle, engine)

        def work(_: int, model: Model = model) -> int:
            for done in range(1_000_000):
                try:
                    found = model.predict_raw(pixels)
                except UsageError as error:
                    assert "the model is closed" in str(error)  # noqa: PT017
                    return done
                np.testing.assert_array_equal(found, expected)
            raise AssertionError("the model never closed")

        with ThreadPoolExecutor(4) as pool:
            counts = [pool.submit(work, i) for i in range(4)]
            time.sleep(0.02)
            model.close()
            assert sum(count.result(30) for count in counts) > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("used", ["unused", "used"])
@pytest.mark.parametrize("threads", [1, 2])
def test_fork(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    bundle: Bundle,
    engine: str,
    pixels: NDArray[np.uint8],
    tmp_path: Path,
    threads: int,
    used: str,
) -> None:
    np.save(tmp_path / "pixels.npy", pixels)
    done = child("-c", FORK, tiny, engine, threads, used, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for who in ("parent", "child"):
        np.testing.assert_array_equal(
            np.load(tmp_path / f"{who}.npy"), bundle.golden().outputs_int8
        )


def test_fork_while_a_thread_predicts(bundle: Bundle, pixels: NDArray[np.uint8]) -> None:
    """The child's lock is its own: the one it was forked with would never be released."""
    engine = open_model(bundle)._engine
    backend = engine._backend
    assert isinstance(engine, Engine)
    with engine._lock:
        engine._forget()
        codes = to_int8(engine.run(pixels))
    np.testing.assert_array_equal(codes, bundle.golden().outputs_int8)
    assert engine._backend is not backend


def test_data_stays_the_bundles(bundle: Bundle, engine: str) -> None:
    model = open_model(bundle, engine)
    data = model._engine.require_open()
    assert hashlib.sha256(data).hexdigest() == model.variant.sha256
