import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray

from tinsmith_runtime import BackendError, Bundle, BundleError, UsageError, load, selftest
from tinsmith_runtime.cpu import read_cpu
from tinsmith_runtime.probe import process


def _golden(bundle: Bundle, **changes: np.ndarray) -> bytes:
    golden = bundle.golden()
    arrays = {name: getattr(golden, name) for name in ("inputs", "outputs_int8", "outputs_float")}
    buffer = io.BytesIO()
    np.savez(buffer, **{**arrays, **changes})
    return buffer.getvalue()


def test_passes(tiny: Path) -> None:
    results = selftest(tiny)
    assert [result.backend for result in results] == ["litert", "onnx"]
    for result in results:
        assert result.vectors == result.equal_vectors == 32
        assert result.mismatch == ""
        assert result.elapsed_ms > 0
        assert result.cpu == read_cpu()
        assert result.engine_version.split()[-1][0].isdigit()


@pytest.mark.not_on_a_board(reason="Python cannot start another there")
def test_the_other_process_starts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it does not, the self-test quietly opens models in this one."""
    monkeypatch.setattr(process, "compute", None)
    assert [result.equal_vectors for result in selftest(tiny)] == [32, 32]


def test_names_the_vector_the_output_and_the_difference(
    forge: Callable[..., Path], bundle: Bundle
) -> None:
    codes = array(bundle.golden().outputs_int8).copy()
    codes[5, 2] -= 1
    codes[7, 0] += 3
    results = selftest(forge({"golden.npz": _golden(bundle, outputs_int8=codes)}))
    assert results
    for result in results:
        assert result.equal_vectors == 30
        assert result.mismatch == "golden vector 5, output 2: differs by +1 LSB"


def test_of_features_and_values(features: Path, values: Path, forge: Callable[..., Path]) -> None:
    for path in (features, values):
        found = {(result.equal_vectors, result.mismatch) for result in selftest(path)}
        assert found == {(32, "")}


def test_difference_does_not_wrap(forge: Callable[..., Path], bundle: Bundle) -> None:
    codes = array(bundle.golden().outputs_int8)
    wrong = np.where(codes >= 0, -128, 127).astype(np.int8)
    by = int(codes[0, 0]) - int(wrong[0, 0])
    results = selftest(forge({"golden.npz": _golden(bundle, outputs_int8=wrong)}))
    said = f"golden vector 0, output 0: differs by {by:+d} LSB"
    assert {result.mismatch for result in results} == {said}


def test_damaged_golden_vectors(forge: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match=r"golden\.npz: "):
        selftest(forge({"golden.npz": b"x"}))


def test_bundle_without_int8(forge: Callable[..., Path]) -> None:
    def edit(tree: Any) -> None:
        tree["variants"] = [v for v in tree["variants"] if v["precision"] == "float"]

    with pytest.raises(BackendError, match="the bundle holds int8 for no engine"):
        selftest(forge(edit=edit))


def test_of_a_model(tiny: Path, engine: str, pixels: NDArray[np.uint8]) -> None:
    for precision in ("int8", "float"):
        with load(tiny, engine, precision=precision, selftest=True) as model:
            results = model.selftest()
            assert [result.backend for result in results] == ["litert", "onnx"]
            assert all(result.equal_vectors == 32 for result in results)
            assert model.clone().selftest()
            model.predict(pixels)
        with pytest.raises(UsageError, match="the model is closed"):
            model.selftest()


def test_load_refuses_what_fails(forge: Callable[..., Path], bundle: Bundle) -> None:
    codes = array(bundle.golden().outputs_int8).copy()
    codes[5, 2] -= 1
    path = forge({"golden.npz": _golden(bundle, outputs_int8=codes)})
    load(path).close()
    message = r"failed: LiteRT .* vector 5, output 2: differs by \+1 LSB; ONNX Runtime .* \+1 LSB$"
    with pytest.raises(BackendError, match=message):
        load(path, selftest=True)
