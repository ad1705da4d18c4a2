"""What a trial builds: by a family or by a function of the user's own."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from tinsmith_runtime import UsageError
from tinsmith_search.networks import build_network
from tinsmith_search.space import FAMILIES

pytestmark = pytest.mark.slow

SHAPE, CLASSES = (12, 12, 1), 5
BLOCKS = {"widths": [4, 6], "kernels": [3, 3], "strides": [2, 1], "pools": [1, 2]}
OWN = """
import keras

def net(trial):
    units = trial.suggest_int("units", 4, 8)
    image = keras.Input((12, 12, 1))
    x = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(5, activation="softmax")(x))

def nothing(trial):
    return None

def broken(trial):
    raise KeyError("units")
"""


def build(model: dict[str, Any], **parameters: Any) -> Any:
    return build_network(model, optuna.trial.FixedTrial(parameters), SHAPE, CLASSES)  # type: ignore[arg-type]


def test_families_are_those_of_train() -> None:
    from tinsmith_train.architecture import FAMILIES as KNOWN

    assert set(KNOWN) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_probabilities(family: str) -> None:
    net = build({"family": family, **BLOCKS})
    assert net.input_shape == (None, *SHAPE)
    found = net(np.zeros((2, *SHAPE), np.float32)).numpy()
    np.testing.assert_allclose(found.sum(axis=1), [1, 1], rtol=1e-6)
    widths = {layer.output.shape[-1] for layer in net.layers if layer.name.endswith("_norm")}
    assert widths == ({4} if family == "dscnn" else {4, 6})


def test_the_same_choice_gives_the_same_layers() -> None:
    first, second = (build({"function": "tinsmith_own:net"}, units=4) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert build({"function": "tinsmith_own:net"}, units=5).to_json() != first.to_json()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"family": "cnn", **BLOCKS, "pools": [4, 4]}, "block 2 takes 4 by 4 pixels, but 1 by 1"),
        (
            {"family": "cnn", **BLOCKS, "kernels": [3, 9], "padding": "valid"},
            "block 2 takes 9 by 9 pixels, but 5 by 5 are left",
        ),
        (
            {"function": "tinsmith_own:nothing"},
            "expected a keras.Model that is built, got NoneType",
        ),
        ({"function": "tinsmith_own:broken"}, "raised KeyError: 'units'"),
        ({"function": "tinsmith_own:missing"}, "expected module:NAME"),
    ],
)
def test_what_cannot_be_built(model: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(model)
    assert said in str(caught.value)


@pytest.fixture(autouse=True, scope="module")
def _own(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module of the user's in the folder that the command is typed in."""
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "tinsmith_own.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield
