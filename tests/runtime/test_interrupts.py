"""An exception between any two lines of a prediction: what comes after it is right all the same."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Never

import numpy as np
import pytest
from narrow import array, some
from numpy.typing import NDArray

import tinsmith_runtime
from tinsmith_runtime import BackendError, Bundle, open_model, read_bundle
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.batch import Arrays, each, rows
from tinsmith_runtime.executor import to_int8

pytestmark = pytest.mark.slow

BACKENDS = str(Path(tinsmith_runtime.__file__).parent / "backends")
FORMATS = {"litert": "tflite", "onnx": "onnx"}
ROUNDS = 400

on_main_thread = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no interval timer"
)


class StopError(Exception):
    """What a signal handler of the program raises."""


class _Interrupter:
    """Raises at the n-th line that runs in the backends, the engine's Python face included."""

    def __init__(self, line: int, kind: type[BaseException]) -> None:
        self.left, self.kind = line, kind

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(BACKENDS) and "litert" not in name and "onnxruntime" not in name:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise self.kind
        return self


def _batches(bundle: Bundle, sizes: tuple[int, ...]) -> list[Any]:
    inputs = bundle.golden().inputs
    starts = np.cumsum((0, *sizes))
    return [rows(inputs, slice(first, first + n)) for first, n in zip(starts, sizes, strict=False)]


def _codes(outputs: Arrays) -> Arrays:
    return each(lambda one: array(to_int8(one)), outputs)


@pytest.mark.not_on_a_board(reason="runs every line of Python hundreds of times over")
@pytest.mark.parametrize(
    ("sizes", "kind"), [((1, 1, 3, 3, 1), KeyboardInterrupt), ((3, 1, 3), StopError)]
)
@pytest.mark.parametrize("which", ["tiny", "pair", "mixed"])
def test_every_line_of_a_backend(
    request: pytest.FixtureRequest,
    which: str,
    engine: str,
    sizes: tuple[int, ...],
    kind: type[BaseException],
) -> None:
    """0 wrong and 0 errors, whichever line it was and whichever of the calls."""
    bundle = read_bundle(request.getfixturevalue(which))
    name = f"model.int8.{FORMATS[engine]}"
    with open_model(bundle, engine) as model:
        batches = [model.encode(batch) for batch in _batches(bundle, sizes)]
    fresh = create_backend(engine, bundle.files[name], 1)
    expected = [_codes(fresh.run(batch)) for batch in batches]
    interrupted = 0
    backend = create_backend(engine, bundle.files[name], 1)
    # What is asked for next: the same again, or what there was before; each may hide the other.
    for victim, then in itertools.product(range(len(batches)), (0, -1)):
        for line in itertools.count(1):
            for batch in batches[:victim]:
                backend.run(batch)
            before = sys.gettrace()
            try:
                sys.settrace(_Interrupter(line, kind))
                backend.run(batches[victim])
            except kind:
                interrupted += 1
            else:
                break  # it has fewer lines
            finally:
                sys.settrace(before)
            for again in (max(victim + then, 0), *range(len(batches))):
                found = _codes(backend.run(batches[again]))
                np.testing.assert_equal(found, expected[again])
    assert interrupted > 10 * len(sizes)


@on_main_thread
def test_signals_at_any_time(engine: str, pair: Path) -> None:
    """Real signals, which reach the lock of the engine and the calls of native code too."""
    bundle = read_bundle(pair)
    batches = _batches(bundle, (1, 1, 3, 3, 1))

    def stop(number: int, frame: FrameType | None) -> Never:
        raise StopError

    old = signal.signal(signal.SIGALRM, stop)
    rng, interrupted = np.random.default_rng(0), 0
    try:
        with open_model(bundle, engine) as model:
            expected = [model.predict_raw(batch) for batch in batches]
            for _ in range(ROUNDS):
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-4))
                    while True:
                        for batch in batches:
                            model.predict_raw(batch)
                except StopError:
                    interrupted += 1
                assert not model._engine._lock.locked()
                for batch, right in zip(batches, expected, strict=True):
                    np.testing.assert_equal(model.predict_raw(batch), right)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupted == ROUNDS


@pytest.mark.parametrize("error", [StopError, RuntimeError, ValueError, OSError])
def test_an_error_of_a_handler_is_its_own(
    bundle: Bundle,
    engine: str,
    pixels: NDArray[np.uint8],
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Raised while the engine's call is under way, and of the kinds that engines raise too."""

    def stop(number: int, frame: FrameType | None) -> Never:
        raise error("the handler's")

    class Native:
        """The engine's face; a signal comes while it computes."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def invoke(self, *arguments: Any) -> None:
            signal.raise_signal(signal.SIGUSR1)

        run_with_iobinding = invoke

    model = open_model(bundle, engine)
    backend = model._engine._backend
    # The attribute that holds the engine.
    (place,) = {"_interpreter", "_session"} & vars(backend).keys()
    expected = model.predict_raw(pixels)
    old = signal.signal(signal.SIGUSR1, stop)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(backend, place, Native(getattr(backend, place)))
            with pytest.raises(error, match=r"^the handler's$"):
                model.predict_raw(pixels[:3])
    finally:
        signal.signal(signal.SIGUSR1, old)
    np.testing.assert_array_equal(model.predict_raw(pixels), expected)


SLOW_IMPORT = """
import signal, sys
from tinsmith_runtime import load
def stop(number, frame):
    raise TimeoutError("the handler's")
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    load(sys.argv[1], sys.argv[2])
except TimeoutError as error:
    print("the same", error)
"""


@pytest.mark.not_on_a_board(reason="gates on how long an import takes")
@on_main_thread
def test_an_error_of_a_handler_during_the_import(
    child: Callable[..., subprocess.CompletedProcess[str]], tiny: Path, tmp_path: Path, engine: str
) -> None:
    package = tmp_path / {"litert": "ai_edge_litert", "onnx": "onnxruntime"}[engine]
    package.mkdir()
    (package / "__init__.py").write_text("import time\ntime.sleep(60)\n")
    done = child("-c", SLOW_IMPORT, tiny, engine, PYTHONPATH=str(tmp_path))
    assert (done.stdout, done.stderr) == ("the same the handler's\n", "")


def test_an_error_of_the_engine_is_an_error_of_the_engine(bundle: Bundle, engine: str) -> None:
    """The same call, and no handler."""
    with open_model(bundle, engine) as model, pytest.raises(BackendError, match="refuses the bat"):
        some(model._engine._backend).run(np.zeros((1, 8, 8, 1)))
