"""The main job, whole, on real handwritten digits: what the README promises, measured."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from demonstration import demonstrate, require_everything, runnable
from numpy.typing import NDArray
from shell import tinsmith

from tinsmith_data import Dataset
from tinsmith_data.quiet import import_tensorflow
from tinsmith_export.targets.onnx.session import optimized_model
from tinsmith_runtime import Bundle, load, read_bundle


@pytest.fixture(scope="module")
def demo(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 of the 18 epochs, which learn enough: 99.50 % of the test images, 18 learn 99.64 %.

    7 or 9 come to 99.43 % and 99.42 %: too close to what `test_accuracy` asks.
    """
    folder = tmp_path_factory.mktemp("mnist")
    demonstrate(folder, "--epochs", "12")
    assert len(mnist.x_test) == 10_000
    return folder


@pytest.fixture(scope="module")
def bundle(demo: Path) -> Bundle:
    return read_bundle(demo / "runs/demo/digits.tin")


@pytest.fixture(scope="module")
def codes(demo: Path, bundle: Bundle, mnist: Dataset) -> dict[str, NDArray[Any]]:
    """Format to `int8 (10000, 10)`: what the runtime computes of the test images."""
    found = {}
    for backend, variant in runnable(bundle):
        if variant.precision == "int8":
            with load(demo / "runs/demo/digits.tin", backend=backend) as model:
                found[variant.format] = model.predict_raw(mnist.x_test)
    return found


def test_everything_is_written_and_says_its_dataset(demo: Path) -> None:
    require_everything(demo, "mnist")


def test_the_model_is_small(demo: Path, bundle: Bundle) -> None:
    history = json.loads((demo / "runs/demo/history.json").read_text())
    assert history["parameters"] <= 40_000
    assert history["macs"] <= 3_000_000
    assert len(bundle.files["model.int8.tflite"]) <= 50_000


def test_accuracy(demo: Path, codes: dict[str, NDArray[Any]], mnist: Dataset) -> None:
    history = json.loads((demo / "runs/demo/history.json").read_text())
    assert history["test_accuracy"] >= 0.994
    ptq = json.loads(
        tinsmith(
            *("export", "runs/demo/model.keras", "--recipe", "ptq", "--json", "--out", "ptq.tin"),
            folder=demo,
        )
    )
    ptq_accuracy = {v["id"]: v["accuracy"] for v in ptq["variants"]}
    for form, found in codes.items():
        accuracy = (found.argmax(1) == mnist.y_test).mean()
        assert accuracy >= history["test_accuracy"] - 0.0010
        assert accuracy >= ptq_accuracy[f"int8-{form}"] - 0.0005


def test_the_manifest_says_what_each_file_does(demo: Path, bundle: Bundle, mnist: Dataset) -> None:
    for backend, variant in runnable(bundle):
        path = demo / "runs/demo/digits.tin"
        with load(path, backend=backend, precision=variant.precision) as model:
            right = model.predict_raw(mnist.x_test).argmax(1) == mnist.y_test
        assert variant.accuracy == float(right.mean())


def test_engines_give_the_same_integers(codes: dict[str, NDArray[Any]], bundle: Bundle) -> None:
    quality = bundle.manifest.quality
    wanted = codes[quality.reference]
    found = {target.target: target.evaluation for target in quality.parity}
    for form in codes.keys() & found:
        others, parity = codes[form], found[form]
        difference = np.abs(wanted.astype(np.int16) - others)
        assert difference.shape == (10_000, 10)
        assert difference.max() <= 1
        assert (difference == 0).mean() >= 0.999
        assert (wanted.argmax(1) == others.argmax(1)).all()
        assert (parity.compared, parity.equal) == (difference.size, (difference == 0).sum())


def test_onnx_runtime_multiplies_integers_alone(bundle: Bundle) -> None:
    graph = onnx.load_from_string(optimized_model(bundle.files["model.int8.onnx"])).graph
    kinds = Counter(node.op_type for node in graph.node)
    # The dense layer is a 1 x 1 convolution in the manifest and in TFLite, a matrix product here.
    assert kinds["QGemm"] == 1
    assert kinds["QLinearConv"] == len(bundle.manifest.layers) - 1
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "DequantizeLinear"} & set(kinds)


def test_the_naive_route_multiplies_floats(demo: Path, mnist: Dataset) -> None:
    """Why it takes longer; `tinsmith bench --against naive` says by how much."""
    import_tensorflow()
    from tinsmith_export.competitors.baselines import naive as go_naively

    inputs, labels = mnist.x_train[:2000].astype(np.float32) / np.float32(255), mnist.y_train[:2000]
    naive = go_naively(model=demo / "runs/demo/model.keras", inputs=inputs, labels=labels).data
    graph = onnx.load_from_string(optimized_model(naive)).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["FusedConv"] > 0


@pytest.mark.parametrize(
    ("model", "training", "quantizing"),
    [
        # The notebook's rate does not learn `digits`.
        ("softmax", ("--learning-rate", "0.005"), ("--qat-steps", "80")),
        ("mlp", (), ("--recipe", "ptq")),
        ("lenet", ("--epochs", "4"), ("--recipe", "ptq")),
    ],
)
def test_the_other_models_go_the_whole_way(
    model: str, training: tuple[str, ...], quantizing: tuple[str, ...], tmp_path: Path
) -> None:
    tinsmith("train", "--model", model, "--data", "digits", *training, folder=tmp_path)
    exported = json.loads(
        tinsmith(
            *("export", f"runs/{model}/model.keras", "--data", "digits", "--json"),
            *("--out", "model.tin", *quantizing),
            folder=tmp_path,
        )
    )
    for target in exported["quality"]["parity"]:
        assert target["evaluation"]["max_difference_lsb"] <= 1
    words = ("bench", "model.tin", "--quick", "--rounds", "10", "--json", "report.json")
    assert "dataset: digits" in tinsmith(*words, folder=tmp_path)
    variants = json.loads((tmp_path / "report.json").read_text())["variants"]
    assert len(variants) == len(runnable(read_bundle(tmp_path / "model.tin")))
    assert all(one["accuracy"]["top1"]["value"] > 0.9 for one in variants)
    tinsmith("selftest", "model.tin", folder=tmp_path)
