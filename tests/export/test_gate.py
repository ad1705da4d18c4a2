"""The gate through the command: what passes, fails and stays open, and what is left of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import settle

from tinsmith_export import GateError, Options, Samples, compile_model
from tinsmith_export.targets.registry import TARGETS
from tinsmith_export.verdict import listed
from tinsmith_export.verify.engines import run_batches
from tinsmith_runtime import load, read_bundle
from tinsmith_runtime.batch import Arrays
from tinsmith_runtime.cli import main

L = keras.layers
Export = Callable[..., tuple[int, str, str]]
COUNT = 120
EVERY = listed([target.title for target in TARGETS])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose int8 file gives float's answers, and what to compile it with.

    Each input has a class by a wide margin, so that a changed answer is one that a test changes.
    """
    place = tmp_path_factory.mktemp("gate")
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), L.Flatten(), L.Dense(3, activation="softmax", name="answer")]
    )
    settle(model)
    bands = np.zeros((36, 3))
    for index in range(3):
        bands[12 * index : 12 * index + 12, index] = 1
    model.get_layer("answer").set_weights([bands, np.zeros(3)])
    model.save(place / "model.keras")
    labels = np.arange(4 * COUNT) % 3
    images = np.zeros((4 * COUNT, 6, 6, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label : 2 * label + 2] = 200
    images += np.random.default_rng(0).integers(0, 50, images.shape, np.uint8)
    given: dict[str, Any] = {"x_train": images, "x_test": images[:COUNT], "y_train": labels}
    np.savez(place / "labels.npz", y_test=labels[:COUNT], **given)
    np.savez(place / "none.npz", x_train=images, x_test=images[:COUNT])
    np.savez(place / "many.npz", x_train=images, x_test=images.repeat(2, axis=0))
    return place


@pytest.fixture
def export(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Export:
    """Runs `tinsmith export`; gives the exit status, what it printed, and what it told."""

    def run(data: str, *words: str) -> tuple[int, str, str]:
        command = ["export", str(folder / "model.keras"), "--data", str(folder / data)]
        command += ["--recipe", "ptq", "--out", str(tmp_path / "out.tin"), "--quiet", *words]
        status = main(command)
        said, told = capfd.readouterr()
        return status, said, told

    return run


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has all int8 files answer some inputs otherwise."""

    def change(count: int) -> None:
        def changed(backend: Any, inputs: Arrays) -> Arrays:
            outputs = run_batches(backend, inputs)
            if isinstance(outputs, np.ndarray) and outputs.dtype == np.int8:
                outputs[:count] = np.roll(outputs[:count], 1, axis=1)
            return outputs

        monkeypatch.setattr("tinsmith_export.verify.streams.run_batches", changed)

    return change


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_changed_answer_of_120_is_undecided(
    export: Export, change: Callable[[int], None], tmp_path: Path
) -> None:
    change(1)
    status, said, _ = export("labels.npz")
    assert (status, files(tmp_path)) == (0, ["out.tin"])
    assert f"gate     {EVERY}: undecided, --max-drop-pp 0.5 (p = 0.46)\n" in said
    assert "0.83 points lost (95 % interval up to 4.57; of 120 answers 1 lost, 0 won)" in said
    warning = f"120 inputs are too few for a verdict on --max-drop-pp 0.5 ({EVERY}): about 1,300"
    assert f"warning {warning} would do memory " in " ".join(said.split())
    assert read_bundle(tmp_path / "out.tin").manifest.quality.stages[-1].accuracy == 119 / 120


def test_strict_fails_what_is_undecided(
    export: Export, change: Callable[[int], None], tmp_path: Path
) -> None:
    change(1)
    status, said, told = export("labels.npz", "--strict")
    assert (status, files(tmp_path)) == (1, [])
    assert "undecided" in said
    assert "warning" not in said
    told = told.splitlines()[-1]  # TensorFlow may log before
    assert "--strict: 120 inputs are too few" in told
    assert told.endswith("no bundle written; try more evaluation data")


def test_a_larger_loss_fails_and_leaves_every_number(
    export: Export, change: Callable[[int], None], tmp_path: Path
) -> None:
    change(30)
    page = tmp_path / "page.html"
    status, said, told = export("labels.npz", "--report", str(page))
    assert (status, files(tmp_path)) == (1, ["page.html"])
    told = told.splitlines()[-1]  # TensorFlow may log before
    assert f"{EVERY}: 25.00 points lost (95 % interval up to " in told
    assert "more than --max-drop-pp 0.5: no bundle written; try --recipe qat, more calib" in told
    names = [line.split()[0] for line in said.splitlines() if not line.startswith(" ")]
    for name in ("float", "TFLite", "ONNX", "kernels", "gate", "parity", "random", "failed"):
        assert name in names
    assert said.endswith("rejected, no bundle written\n")
    assert max(map(len, said.splitlines())) <= 100
    html = page.read_text()
    assert f"Rejected. {EVERY}: 25.00 points lost" in html
    assert "--keep-float auto" in html


def test_a_rejected_bundle_can_be_kept(
    export: Export, change: Callable[[int], None], tmp_path: Path
) -> None:
    (tmp_path / "out.tin").write_bytes(b"an older one")
    kept = tmp_path / "kept.tin"
    change(30)
    status, said, told = export("labels.npz", "--keep-rejected", str(kept), "--json")
    assert (status, files(tmp_path)) == (1, ["kept.tin", "out.tin"])
    assert (tmp_path / "out.tin").read_bytes() == b"an older one"
    assert f": kept in {kept}; try" in told
    found = json.loads(said)
    assert found["bundle"] == str(kept)
    assert found["verdicts"]["onnx"] == found["verdicts"]["tflite"]
    verdict = found["verdicts"]["onnx"]
    assert (verdict["outcome"], verdict["lost"], verdict["count"]) == ("fail", 30, COUNT)
    assert found["failures"]
    assert found["advice"].startswith("try --recipe qat")
    manifest = read_bundle(kept).manifest
    assert list(manifest.failures) == found["failures"]
    assert [(one.name, one.value) for one in manifest.settings] == [("recipe", '"ptq"')]
    with load(kept) as model:
        assert model.predict(np.zeros((1, 6, 6, 1), np.uint8)).shape == (1, 3)


def test_a_place_for_a_rejected_bundle_stays_empty_if_none_is(
    export: Export, tmp_path: Path
) -> None:
    status, said, _ = export("labels.npz", "--keep-rejected", str(tmp_path / "kept.tin"))
    assert (status, files(tmp_path)) == (0, ["out.tin"])
    assert said.endswith(f"written  {tmp_path / 'out.tin'}\n")
    status, _, told = export("labels.npz", "--keep-rejected", str(tmp_path / "out.tin"))
    assert status == 2
    assert "expected a name of its own" in told


@pytest.mark.parametrize(
    ("changed", "words", "outcome"),
    [
        (1, [], "undecided"),
        (5, [], "undecided"),
        (6, [], "fail"),
        (6, ["--max-changed-pp", "12", "--max-drop-pp", "0"], "pass"),
        (1, ["--max-changed-pp", "0"], "fail"),
    ],
)
def test_without_labels_answers_that_change_count(
    export: Export,
    change: Callable[[int], None],
    changed: int,
    words: list[str],
    outcome: str,
) -> None:
    change(changed)
    status, said, _ = export("none.npz", *words)
    assert f"gate     {EVERY}: {outcome}, --max-changed-pp " in said
    assert "% of the answers changed (95 % interval up to " in said
    assert status == (outcome == "fail")


@pytest.mark.parametrize("alone", [True, False])
def test_layers_kept_float_that_are_not_enough_fail_with_and_without_a_bundle(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], alone: bool
) -> None:
    """No int8 model answers 5 points more than float: `--sensitivity` alone says so as well."""
    words = [str(folder / "model.keras"), "--data", str(folder / "labels.npz"), "--recipe", "ptq"]
    words += ["--keep-float", "auto", "--max-drop-pp", "-5", "--sensitivity", "--quiet"]
    assert main(["export", *words, *([] if alone else ["--out", str(tmp_path / "a.tin")])]) == 1
    said = capfd.readouterr()
    table = said.out.splitlines()
    assert table[0].split()[:2] == ["layer", "bits"]
    assert table[1].split()[0] == "answer"
    (line,) = said.err.splitlines()
    assert "--keep-float auto found no layers that are enough, on inputs held back: " in line
    assert line.endswith("more than --max-drop-pp -5") == alone
    assert not list(tmp_path.iterdir())


def test_enough_inputs_without_labels_pass(export: Export) -> None:
    status, said, _ = export("many.npz", "--strict")
    assert status == 0
    assert f"gate     {EVERY}: pass, --max-changed-pp 2 (p = 1)" in said


def test_a_program_gets_every_number(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "none.npz") as found:
        samples = Samples("bands", "0" * 64, found["x_train"], None, found["x_test"], None, ())
    model = keras.models.load_model(folder / "model.keras")
    options = Options(recipe="ptq", strict=True, keep_rejected=tmp_path / "kept.tin")
    with pytest.raises(GateError, match="try more evaluation data") as caught:
        compile_model(model, samples, tmp_path / "out.tin", options)
    exported = caught.value.exported
    assert exported.bundle == tmp_path / "kept.tin"
    assert exported.manifest == read_bundle(exported.bundle).manifest
    assert {verdict.outcome for verdict in exported.verdicts.values()} == {"undecided"}
    assert exported.verdicts["onnx"].decisive_count == 190
    assert files(tmp_path) == ["kept.tin"]


def test_values_have_no_gate(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "none.npz") as found:
        samples = Samples("bands", "0" * 64, found["x_train"], None, found["x_test"], None, ())
    model = settle(keras.Sequential([keras.Input((6, 6, 1)), L.Flatten(), L.Dense(2)]))
    options = Options(recipe="ptq", strict=True, max_changed_pp=0)
    exported = compile_model(model, samples, tmp_path / "out.tin", options)
    assert (exported.verdicts, exported.failures) == ({}, ())
