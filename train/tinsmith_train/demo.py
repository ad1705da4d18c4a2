"""`tinsmith demo`: runs `train`, `export` and `bench`, as a person would type them."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import Dataset, load_dataset
from tinsmith_data.errors import DatasetError
from tinsmith_data.options import folder_source
from tinsmith_runtime.cli.settings import FILE
from tinsmith_runtime.errors import UsageError
from tinsmith_train.recipe import default_model
from tinsmith_train.runfolder import check_writable

_BUNDLE = "digits.tin"


@dataclass(frozen=True)
class _Task:
    """What there is to be learned.

    Attributes:
        datasets: the one of MNIST, and the one that needs no network.
        picture: the file for a test image.
        export: more words for `export`; files and folders lie in the run folder.
        run: likewise for `run`.
    """

    datasets: tuple[str, str]
    picture: str
    export: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


TASKS = {
    "classify": _Task(("mnist", "digits"), "digit.png"),
    "detect": _Task(
        ("scenes", "digit-scenes"),
        "scene.png",
        ("--boxes", "boxes.json"),
        ("--draw", "drawn"),
    ),
}


def demo(
    out: Path,
    *,
    task: str = "classify",
    source: str | None = None,
    data_dir: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    quiet: bool = False,
    verbose: bool = False,
) -> int:
    """Trains a model, exports it and measures it, each step by its own command.

    Args:
        out: the folder for everything: the run folder, `digits.tin`, `report.json`, `.md` and
            `.html`, and `digit.png` or `scene.png`, a test image to try the bundle on.
        task: `classify` digits, or `detect` them in scenes.
        source: images with labels or boxes, as `--data`; if `None`, MNIST or scenes of it, where it
            can be had, else `digits` or `digit-scenes`.
        data_dir: where MNIST's IDX files are.
        epochs: the model's own if `None`.
        seed: of training and export.
        quiet: the steps show no progress.
        verbose: the steps let TensorFlow log.

    Returns:
        0, or the exit status of the step that failed.

    Raises:
        UsageError: no such task or data, or no folder can be where `out` is.
    """
    started = time.perf_counter()
    if task not in TASKS:
        raise UsageError(f"task: expected {' or '.join(TASKS)}, got {task!r}")
    check_writable(out, task)
    data, named = _choose(TASKS[task], source, data_dir, seed)
    print(
        f"tinsmith demo on {data.name}: {len(data.y_train):,} training and {len(data.y_test):,} "
        "test images"
    )
    # The settings of a person's own work are not the demo's.
    alone = ["--no-config"] if Path(FILE).exists() else []
    chosen = TASKS[task]
    name = default_model(data)
    for words in _steps(chosen, name, out, named, epochs, seed, quiet, verbose):
        status = _type([*words, *alone])
        if status:
            return status
    picture, run = out / TASKS[task].picture, _placed(TASKS[task].run, out)
    _save_picture(data.x_test[0], picture)
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"\ndone in {minutes} min {seconds} s; everything is in {out}. Next:")
    bundle = str(out / _BUNDLE)
    for words in (
        ["run", bundle, str(picture), *run],
        ["inspect", bundle],
        ["selftest", bundle],
    ):
        print(f"  {shlex.join(['tinsmith', *words])}")
    return 0


def _choose(
    task: _Task, source: str | None, data_dir: Path | None, seed: int
) -> tuple[Dataset, str]:
    """Gives the data, and what the steps call it."""
    best, other = task.datasets
    if source is None and data_dir is None:
        try:
            return load_dataset(best), best
        except DatasetError as error:
            print(f"tinsmith: {error}", file=sys.stderr)
            source = other
    if data_dir is not None and source in (None, "mnist"):
        if best != "mnist":
            raise UsageError("--data-dir: name the folder above `mnist` with $TINSMITH_DATA")
        return load_dataset("mnist", data_dir), folder_source(data_dir)
    source = source or best
    return load_dataset(source, seed=seed), source


def _placed(words: tuple[str, ...], out: Path) -> list[str]:
    return [word if word.startswith("-") else str(out / word) for word in words]


def _steps(
    task: _Task,
    name: str,
    out: Path,
    source: str,
    epochs: int | None,
    seed: int,
    quiet: bool,
    verbose: bool,
) -> Iterator[list[str]]:
    """Gives the words of each command."""
    model, bundle, data = str(out / "model.keras"), str(out / _BUNDLE), ["--data", source]
    loudness = ["--quiet"] if quiet else []
    options = ["--seed", str(seed)] if seed else []
    options += ["--verbose"] if verbose else loudness
    count = [] if epochs is None else ["--epochs", str(epochs)]
    kinds = {"--json": "report.json", "--markdown": "report.md", "--html": "report.html"}
    report = [word for option, name in kinds.items() for word in (option, str(out / name))]
    yield ["train", "--model", name, *data, *count, "--out", str(out), *options]
    yield ["export", model, *_placed(task.export, out), *data, "--out", bundle, *options]
    yield ["bench", bundle, *data, *report, *loudness]


def _type(words: list[str]) -> int:
    """Runs a tinsmith command in a process of its own and gives its exit status."""
    print(f"\n$ {shlex.join(['tinsmith', *words])}", flush=True)
    with subprocess.Popen([sys.executable, "-m", "tinsmith_runtime", *words]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told the child too; let it put its things away.
            process.wait()
            raise


def _save_picture(image: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
