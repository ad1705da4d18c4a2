"""Text classifiers: an Embedding is a table of codes, read at the places that the input names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras
from compiling import ZERO_TO_ONE, compiled, rewritten, settle
from interpreted import require_interpreted
from narrow import array

from tinsmith_export import Options, compile_model
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.inputs.entry import enter
from tinsmith_export.inputs.samples import Samples, checked, kind_of
from tinsmith_runtime import load
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import InputError, UsageError

ROWS, LENGTH = 300, 12


def classifier(module: Any, mask: bool = False, dtype: str = "int32") -> Any:
    layers = module.layers
    source = module.Input((LENGTH,), dtype=dtype)
    x = layers.Embedding(ROWS, 8, mask_zero=mask)(source)
    if not mask:
        x = layers.Conv1D(6, 3, activation="relu")(x)
    model = module.Model(source, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    return settle(model)


def ids(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, ROWS, (64, LENGTH), np.int32)


@pytest.mark.parametrize("module", [keras, tf_keras], ids=["Keras 3", "tf_keras"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_a_text_classifier(module: Any, dtype: str) -> None:
    made = compiled(classifier(module, dtype=dtype), inputs=ids(), floats=True)
    (source,) = made.entry.sources
    assert (source.kind, source.dtype, source.value_range) == ("ids", "int32", (0, ROWS - 1))
    assert source.sample_shape == (LENGTH,)
    assert set(made.files) > {f"model.int8.{name}" for name in ("tflite", "onnx", "plan")}
    assert made.parity.equal == made.parity.compared
    require_interpreted(made)  # with numbers beyond the table too


def test_a_row_that_calibration_never_named_is_not_clipped() -> None:
    made = compiled(classifier(keras), inputs=ids() % 7)
    (table,) = [node for node in made.graph.layers if node.kind == "Embedding"]
    params = made.quantized.ranges[table.name]
    rows = table.table  # type: ignore[attr-defined]
    assert params.low <= rows.min() + params.scale
    assert rows.max() - params.scale <= params.high


@pytest.mark.parametrize("module", [keras, tf_keras], ids=["Keras 3", "tf_keras"])
def test_a_mask_is_refused(module: Any) -> None:
    with pytest.raises(UnsupportedLayerError, match="mask_zero=False"):
        rewritten(classifier(module, mask=True))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier's, by its ids alone."""
    folder = tmp_path_factory.mktemp("text")
    np.savez(folder / "ids.npz", x=ids().astype(np.int64), y=np.arange(64) % 3)
    options = Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0)
    compile_model(classifier(keras), str(folder / "ids.npz"), folder / "text.tin", options)
    return folder / "text.tin"


@pytest.mark.parametrize("backend", ["litert", "onnx", "native"])
def test_a_bundle_gives_what_its_golden_vectors_say(bundle: Path, backend: str) -> None:
    with load(bundle, backend=backend) as model:
        assert model.inputs[0].kind == "ids"
        found = array(model.predict(ids(3)))
        np.testing.assert_array_equal(found, model.predict(ids(3).astype(np.float64)))
        for wrong in (-1, ROWS, 0.5):
            batch = ids().astype(np.float64)
            batch[5, 3] = wrong
            with pytest.raises(InputError, match=r"batch: expected ids from 0 to 299"):
                model.predict(batch)


def test_a_bundle_of_ids_tests_itself(bundle: Path) -> None:
    assert main(["selftest", str(bundle)]) == 0


def test_numbers_beyond_the_table_are_refused() -> None:
    from tinsmith_export.frontend.operators import read_graph
    from tinsmith_export.frontend.trace import trace

    graph = read_graph(trace(classifier(keras)))
    for wrong, message in ((ids(), "below 300"), (ids().astype("f4"), "int32 numbers of an Emb")):
        wrong[0, 0] = ROWS
        samples = Samples("some", "0" * 64, wrong, None, wrong, None, ())
        with pytest.raises(UsageError, match=message):
            enter(graph, samples, ZERO_TO_ONE)


def test_whole_numbers_are_ids() -> None:
    assert kind_of(array(checked("some", ids().astype(np.int64)))) == "ids"
    with pytest.raises(UsageError, match="whole numbers"):
        checked("some", ids() - 1)
