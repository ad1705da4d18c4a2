"""Makes `steps.tin`: a GRU of 6 units and three classes as one step of a stream, random weights.

.venv/bin/python tests/data/make_steps.py
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from compiling import settle

from tinsmith_export import Options, compile_model
from tinsmith_export.inputs.samples import made


def main() -> None:
    """Exports the model beside this file."""
    import keras

    layers = keras.layers
    found = [layers.GRU(6, name="memory"), layers.Dense(3, activation="softmax", name="answer")]
    model = settle(keras.Sequential([keras.Input((8, 2)), *found], name="steps"))
    sequences = np.random.default_rng(0).normal(size=(200, 8, 2)).astype(np.float32)
    samples = made("random", sequences[:150], sequences[150:], None, ("low", "middle", "high"))
    options = Options(recipe="ptq", stateful=True)
    compile_model(model, samples, Path(__file__).with_name("steps.tin"), options)


if __name__ == "__main__":
    main()
