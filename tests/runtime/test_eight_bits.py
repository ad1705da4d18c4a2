"""Weights of 8 bits: the same integers on every CPU, by an option of ONNX Runtime where needed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray

from tinsmith_runtime import BundleError, load, read_bundle

pytestmark = pytest.mark.both_engines
EIGHT = Path(__file__).parents[1] / "data" / "eight.tin"
OPTION = "session.x64quantprecision"


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    golden = array(read_bundle(EIGHT).golden().inputs)
    noise = np.random.default_rng(1).integers(0, 256, (200, *golden.shape[1:]), np.uint8)
    return np.concatenate([golden, noise, np.full_like(golden[:1], 255)])


def bare(images: NDArray[np.uint8], **options: str) -> Any:
    """What ONNX Runtime gives, opened as anybody would."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    for key, value in options.items():
        chosen.add_session_config_entry(key, value)
    data = read_bundle(EIGHT).files["model.int8.onnx"]
    session = onnxruntime.InferenceSession(data, chosen, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0] ^ 128


def test_both_engines_give_the_same(images: NDArray[np.uint8]) -> None:
    assert {layer.weight_bits for layer in read_bundle(EIGHT).manifest.layers} == {8}
    found = []
    for engine in ("litert", "onnx"):
        with load(EIGHT, engine) as model:
            found.append(model.predict_raw(images))
    np.testing.assert_array_equal(*found)


def test_without_the_option_a_cpu_without_vnni_differs(images: NDArray[np.uint8]) -> None:
    from tinsmith_runtime.backends import ort

    with load(EIGHT, "litert") as model:
        exact = model.predict_raw(images)
    np.testing.assert_array_equal(bare(images, **{OPTION: "1"}).view(np.int8), exact)
    differ = np.count_nonzero(bare(images).view(np.int8) != exact)
    if not ort.saturates():
        assert differ == 0  # VNNI or Arm: the kernels are exact by themselves
    else:
        assert differ > exact.size / 2


@pytest.mark.parametrize(
    ("producer", "saturates", "expected"),
    [("tinsmith", True, "1"), ("tinsmith", False, None), ("tf2onnx", True, None)],
)
def test_who_gets_the_option(
    monkeypatch: pytest.MonkeyPatch, producer: str, saturates: bool, expected: str | None
) -> None:
    from tinsmith_runtime.backends import ort

    monkeypatch.setattr(ort, "saturates", lambda: saturates)
    options = ort.session_options(b"\x08\x08\x12\x08" + producer.encode(), 1)
    if expected is None:
        with pytest.raises(RuntimeError, match=OPTION):
            options.get_session_config_entry(OPTION)
    else:
        assert options.get_session_config_entry(OPTION) == expected


def test_a_build_that_cannot_be_asked_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinsmith_runtime.backends import ort

    def refuse(*_: object) -> None:
        raise BundleError("no such operator")

    monkeypatch.setattr(ort, "open_session", refuse)
    assert ort.saturates.__wrapped__()
