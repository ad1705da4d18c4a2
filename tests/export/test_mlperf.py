"""MLPerf Tiny's trained image models, compiled without fine-tuning and without labels."""

from pathlib import Path

import numpy as np
import pytest
from narrow import some
from shared_files import MODELS, PHOTOGRAPHS, shared

from tinsmith_data import Dataset, load_dataset
from tinsmith_export import Options, export
from tinsmith_runtime.bundle import Manifest


@pytest.fixture(scope="module")
def cifar10() -> Dataset:
    return load_dataset(str(shared(PHOTOGRAPHS)))


def require_eight_bits(manifest: Manifest) -> None:
    """All layers have 8 bits, many could saturate, and the engines agree to the bit."""
    assert {layer.weight_bits for layer in manifest.layers} == {8}
    assert sum(layer.saturates for layer in manifest.layers) > len(manifest.layers) / 3
    for target in manifest.quality.parity:
        for parity in (target.evaluation, target.random):
            assert parity.equal == parity.compared > 0


def test_resnet8(cifar10: Dataset, tmp_path: Path) -> None:
    options = Options(input_range=(0.0, 255.0), recipe="ptq", max_drop_pp=0.3)
    exported = export(
        shared(MODELS, "pretrainedResnet.h5"), cifar10, tmp_path / "resnet.tin", options
    )
    quality = exported.manifest.quality
    stages = {stage.name: some(stage.accuracy) for stage in quality.stages}
    assert stages["float"] > 0.7  # it knows CIFAR-10, even through JPEG
    assert min(stages.values()) >= stages["float"] - 0.003
    # Nine convolutions, the average as one more, and the dense layer; integers alone.
    assert exported.kernels["onnx"] == {"QLinearConv": 10, "QGemm": 1}
    assert quality.parity[0].evaluation.compared == 20_000
    require_eight_bits(exported.manifest)


def test_mobilenet_v1(cifar10: Dataset, tmp_path: Path) -> None:
    def enlarge(images: np.ndarray) -> np.ndarray:
        return images[:200].repeat(3, axis=1).repeat(3, axis=2)

    # Two classes, person or none: how often the answers fit these photographs says nothing.
    path = tmp_path / "photographs.npz"
    x_train, x_test = enlarge(cifar10.x_train), enlarge(cifar10.x_test)
    np.savez(
        path,
        x_train=x_train,
        x_test=x_test,
        y_train=cifar10.y_train[:200] % 2,
        y_test=cifar10.y_test[:200] % 2,
    )
    exported = export(
        shared(MODELS, "vww_96.h5"),
        load_dataset(str(path)),
        tmp_path / "vww.tin",
        Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0),
    )
    assert exported.kernels["onnx"] == {"QLinearConv": 28, "QGemm": 1}
    require_eight_bits(exported.manifest)
