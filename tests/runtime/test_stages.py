"""A prediction in its stages, as the benchmarks time them."""

from pathlib import Path

import numpy as np
import pytest
from narrow import array

from tinsmith_runtime import UsageError, load
from tinsmith_runtime.executor import ACTIVATIONS


@pytest.mark.parametrize("precision", ["int8", "float"])
def test_the_stages_give_what_predict_gives(tiny: Path, engine: str, precision: str) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    with load(tiny, engine, precision=precision) as model:
        outputs = model.run(model.encode(batch))
        values = model.decode(outputs)
        assert array(values).dtype == np.float32
        np.testing.assert_array_equal(array(outputs).argmax(1), model.predict_raw(batch).argmax(1))
        # The runtime may take a shorter way through a table, which rounds once less.
        probabilities = ACTIVATIONS[model.output.activation](array(values))
        np.testing.assert_allclose(probabilities, model.predict(batch), rtol=1e-5)
        encoded = model.encode(batch)
    with pytest.raises(UsageError, match="closed"):
        model.run(encoded)
