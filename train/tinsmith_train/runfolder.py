"""The folder that a training run leaves behind.

| file | what |
|---|---|
| `model.keras` | the model after its best epoch |
| `tinsmith.toml` | the settings of `tinsmith train`, which takes them again with `--config` |
| `history.json` | every epoch, and what the model was made of |
| `curves.png` | loss and accuracy, epoch by epoch |
| `confusion.png` | what the model said of the test images of each class |
| `digits.png` | test images and what the model said of them, mistakes first |
| `boxes.json` | of a detector: what its outputs mean, for `tinsmith export --boxes` |
| `boxes.png` | of a detector, in place of the two above: test images and the boxes found there |
| `checkpoint.npz` | while it is trained, or after Ctrl-C: what `--resume` needs |
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tinsmith_data.dataset import Dataset
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import require_writable
from tinsmith_train.errors import RunFolderError
from tinsmith_train.head import detector_head, head_json
from tinsmith_train.history import Epoch
from tinsmith_train.recipe import Recipe

SETTINGS = "tinsmith.toml"
FILES = ("model.keras", "history.json", "curves.png", SETTINGS)
CLASSIFIERS = ("confusion.png", "digits.png")
DETECTORS = ("boxes.json", "boxes.png")
_PARTIAL = ".partial-"


@dataclass(frozen=True)
class TrainResult:
    """What training gave.

    Attributes:
        model: the model's name.
        dataset: the dataset's name.
        out: the run folder.
        seed: of everything random.
        recipe: how it was trained, no setting left open.
        epochs: those that were done.
        best: the one whose weights were kept.
        stopped: whether Ctrl-C ended it.
        init: the file of the trained network that it began with, or `None`.
        parameters: the number of weights, the statistics of batch normalisation included.
        macs: multiply-accumulates for one image.
        test_images: how many it was tested on.
        seconds: wall time of training and testing.
        test_correct: how many of the test images a classifier gets right.
        test_map50: mean average precision of a detector at an IoU of 0.5, 0 to 1.
        test_map: likewise, the mean over IoUs from 0.5 to 0.95.
    """

    model: str
    dataset: str
    out: Path
    seed: int
    recipe: Recipe
    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped: bool
    parameters: int
    macs: int
    test_images: int
    seconds: float
    test_correct: int | None = None
    test_map50: float | None = None
    test_map: float | None = None
    init: Path | None = None

    @property
    def test_accuracy(self) -> float | None:
        """The part of the test images that a classifier gets right, in 0..1."""
        return None if self.test_correct is None else self.test_correct / self.test_images


def check_writable(out: Path, task: str = "classify") -> None:
    """Finds out before training, not after it, that `out` cannot be a folder.

    Raises:
        UsageError: `out` or a part of its path is a file, may not be written to, or a folder is
            where one of the run's files goes.
    """
    way = [out.absolute(), *out.absolute().parents]
    try:
        there = next(path for path in way if path.exists())
        if not there.is_dir():
            raise UsageError(f"cannot write to {out}: {there} is a file, not a folder")
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror or error}") from error
    whole = there == way[0]
    names = (*FILES, *(DETECTORS if task == "detect" else CLASSIFIERS))
    for path in [out / name for name in names] if whole else [way[way.index(there) - 1]]:
        require_writable(path)


def write_run_folder(
    result: TrainResult,
    save_model: Callable[[Path], object],
    dataset: Dataset,
    outputs: Any,
) -> None:
    """Writes every file beside its place, then moves them all: a killed run leaves none in half.

    Args:
        result: goes into `history.json`; its `out` is the folder.
        save_model: writes the model to a path.
        dataset: what the model was trained and tested on.
        outputs: what the model said of each test image: `(M, classes)` probabilities, or of each
            the boxes that it found; `None` to draw no pictures.

    Raises:
        RunFolderError: the disk is full, a folder is in the way, and the like.
    """
    title = f"{result.model} on {result.dataset}"
    with _moved_into(result.out) as folder:
        save_model(folder / "model.keras")
        text = json.dumps(describe(result, dataset), indent=2)
        (folder / "history.json").write_text(text + "\n", encoding="utf-8")
        if dataset.has_boxes:
            head = head_json(detector_head(dataset.labels))
            (folder / "boxes.json").write_text(head, encoding="utf-8")
        if outputs is None:
            return
        from tinsmith_train.plots import draw_boxes, draw_confusion, draw_curves, draw_digits

        draw_curves(result.epochs, result.best, title, folder / "curves.png")
        tested, labels = (dataset.x_test, dataset.y_test, outputs), dataset.labels
        if dataset.has_boxes:
            draw_boxes(*tested, labels, title, folder / "boxes.png")
        else:
            draw_confusion(*tested[1:], labels, title, folder / "confusion.png")
            draw_digits(*tested, labels, title, folder / "digits.png")


def describe(result: TrainResult, dataset: Dataset) -> dict[str, Any]:
    """Gives the content of `history.json`: plain numbers, strings, lists and dicts."""
    return {
        "model": result.model,
        "parameters": result.parameters,
        "macs": result.macs,
        "dataset": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "labels": list(dataset.labels),
            "train_images": len(dataset.y_train),
            "test_images": len(dataset.y_test),
        },
        "seed": result.seed,
        "batch_size": result.recipe.batch_size,
        "learning_rate": result.recipe.learning_rate,
        "width": result.recipe.width,
        "depth": result.recipe.depth,
        "augmentation": result.recipe.augment,
        "warm_up": result.recipe.warm_up,
        "held_back": result.recipe.held_back,
        "patience": result.recipe.patience,
        "init": str(result.init) if result.init else None,
        "epochs": [asdict(epoch) for epoch in result.epochs],
        "best_epoch": result.best.number,
        "stopped": result.stopped,
        "test_correct": result.test_correct,
        "test_accuracy": result.test_accuracy,
        "test_map50": result.test_map50,
        "test_map": result.test_map,
        "seconds": result.seconds,
        "made_with": {name: version(name) for name in ("tinsmith", "keras", "tensorflow")},
    }


@contextlib.contextmanager
def _moved_into(out: Path) -> Iterator[Path]:
    """Gives an empty folder; if all goes well, what is in it afterwards moves into `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for killed in out.glob(f"{_PARTIAL}*"):  # what a run left that was killed while it wrote
            shutil.rmtree(killed, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=out) as partial:
            yield Path(partial)
            for path in sorted(Path(partial).iterdir()):
                path.replace(out / path.name)
    except OSError as error:
        raise RunFolderError(f"cannot write to {out}: {error}") from error
