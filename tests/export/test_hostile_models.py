"""No file that a model comes in runs anything, reads elsewhere or takes more than it holds."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tf_keras
from hostile_models import (
    MARKER,
    configurations,
    damaged,
    folders,
    honest,
    layers_of,
    runs_unguarded,
    write,
)

from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.load import load_keras
from tinsmith_export.frontend.trace import trace
from tinsmith_runtime.errors import TinsmithError

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def refused(path: Path) -> str:
    """The one line that says why a model is not loaded; empty if it is."""
    try:
        load_keras(path)
    except TinsmithError as error:
        return str(error)
    return ""


def test_no_configuration_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    live: dict[str, Path] = {}
    wrong, count = [], 0
    for hostile, path in configurations(tmp_path):
        said = refused(path)
        count += 1
        if not re.search(hostile.said, said) or "\n" in said:
            wrong.append(f"{hostile.library}, {hostile.name}, {path.suffix}: {said or 'loaded'}")
        assert not (tmp_path / MARKER).exists(), hostile.name
        if hostile.live:
            live.setdefault(hostile.name, path)
    assert not wrong, "\n".join(wrong)
    assert count >= 40
    assert "tinsmith_payload" not in sys.modules
    # The same files, and Keras alone: what they carry does run.
    for name in ("writes a file, in a model", "imports for the model"):
        assert runs_unguarded(live[name], tmp_path), name


def test_no_weights_from_elsewhere_and_no_more_than_are_stored(tmp_path: Path) -> None:
    wrong = []
    for build in (damaged, folders):
        for name, path, expected in build(tmp_path / build.__name__):
            said = refused(path)
            if not re.search(expected, said):
                wrong.append(f"{name}, {path.name}: {said or 'loaded'}")
    assert not wrong, "\n".join(wrong)


class Own(tf_keras.layers.Layer):
    """A user's layer."""


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_users_class_lends_its_name_to_nothing_else(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tinsmith_payload.py").write_text(f"open({str(tmp_path / MARKER)!r}, 'w')")

    def edit(config: Any) -> None:
        layer = layers_of(config)["last"]
        layer |= {"module": "tinsmith_payload", "class_name": "Own", "registered_name": "Thing"}

    path = tmp_path / f"model{suffix}"
    write(honest(tf_keras), path, edit)
    with pytest.raises(UnsupportedLayerError, match=r"`last` \(tinsmith_payload.Own\)"):
        load_keras(path, {"Own": Own})
    assert not (tmp_path / MARKER).exists()


class Growing(tf.Module):
    """Computes with a constant of 64 GiB whose size is itself computed."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def answer(self, x: tf.Tensor) -> tf.Tensor:
        with tf.name_scope("growing"):
            sizes = tf.raw_ops.Mul(x=tf.constant([1 << 10, 1 << 10]), y=tf.constant([128, 128]))
            return x * tf.reduce_mean(tf.fill(sizes, 1.0))


def test_a_constant_that_is_made_large(tmp_path: Path) -> None:
    module = Growing()
    tf.saved_model.save(module, tmp_path / "m", signatures=module.answer)
    with pytest.raises(TinsmithError, match=r"growing/Fill.* makes constants of more than"):
        trace(load_keras(tmp_path / "m"))
