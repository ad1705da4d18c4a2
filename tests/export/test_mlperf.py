"""MLPerf Tiny's trained image models, compiled without fine-tuning and without labels."""

import os
from pathlib import Path

import numpy as np
import pytest

from tinsmith_data import Dataset, load_dataset
from tinsmith_export import Options, export

MODELS = Path("..", "models", "mlperf-tiny")


def shared(*parts: str | Path) -> Path:
    """A file in or beside the data folder, or the reason why there is none."""
    root = os.environ.get("TINSMITH_DATA")
    path = Path(root or "", *parts)
    if root and path.is_file():
        return path
    reason = f"no {path}: TINSMITH_DATA must name a folder with it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def cifar10() -> Dataset:
    return load_dataset(str(shared("cifar10", "cifar10-jpeg-subset.npz")))


def test_resnet8(cifar10: Dataset, tmp_path: Path) -> None:
    options = Options(input_range=(0.0, 255.0), recipe="ptq", max_drop_pp=0.3)
    exported = export(
        shared(MODELS, "pretrainedResnet.h5"), cifar10, tmp_path / "resnet.tin", options
    )
    quality = exported.manifest.quality
    ladder = {rung.stage: rung.accuracy for rung in quality.ladder}
    assert ladder["float"] > 0.7  # it knows CIFAR-10, even through JPEG
    assert min(ladder["TFLite"], ladder["ONNX"]) >= ladder["float"] - 0.003
    # Nine convolutions, the average as one more, and the dense layer; integers alone.
    assert exported.kernels == {"QLinearConv": 10, "QGemm": 1}
    assert quality.parity.compared == 20_000
    assert quality.parity.equal >= 0.995 * quality.parity.compared
    assert quality.parity.max_difference_lsb <= 1


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
        Options(recipe="ptq", max_drop_pp=100.0),
    )
    assert exported.kernels == {"QLinearConv": 28, "QGemm": 1}
    parity = exported.manifest.quality.parity
    assert parity.top1_agreement >= 0.99
    assert parity.max_difference_lsb <= 1
