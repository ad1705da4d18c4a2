"""`tinsmith demo`: runs `train`, `export` and `bench`, as a person would type them."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import Dataset, load_dataset
from tinsmith_data.errors import DatasetError
from tinsmith_data.options import folder_source
from tinsmith_train.recipe import default_model
from tinsmith_train.runfolder import check_writable

_BUNDLE, _PICTURE = "digits.tin", "digit.png"


def demo(
    out: Path,
    *,
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
            `.html`, and `digit.png`, a test image to try the bundle on.
        source: images with labels, as `--data`; MNIST if it can be had, else `digits`, if `None`.
        data_dir: where MNIST's IDX files are.
        epochs: the model's own if `None`.
        seed: of training and export.
        quiet: the steps show no progress.
        verbose: the steps let TensorFlow log.

    Returns:
        0, or the exit status of the step that failed.

    Raises:
        UsageError: no such data, or no folder can be where `out` is.
    """
    started = time.perf_counter()
    check_writable(out)
    data, named = _choose(source, data_dir, seed)
    print(
        f"tinsmith demo on {data.name}: {len(data.y_train):,} training and {len(data.y_test):,} "
        "test images"
    )
    model = default_model(*data.x_train.shape[1:3])
    for words in _steps(out, model, named, epochs, seed, quiet, verbose):
        status = _type(words)
        if status:
            return status
    _save_picture(data.x_test[0], out / _PICTURE)
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"\ndone in {minutes} min {seconds} s; everything is in {out}. Next:")
    bundle = str(out / _BUNDLE)
    for words in (
        ["run", bundle, str(out / _PICTURE)],
        ["inspect", bundle],
        ["selftest", bundle],
    ):
        print(f"  {shlex.join(['tinsmith', *words])}")
    return 0


def _choose(source: str | None, data_dir: Path | None, seed: int) -> tuple[Dataset, str]:
    """Gives the data, and what the steps call it."""
    if source is None and data_dir is None:
        try:
            return load_dataset("mnist"), "mnist"
        except DatasetError as error:
            print(f"tinsmith: {error}", file=sys.stderr)
            source = "digits"
    if data_dir is not None and source in (None, "mnist"):
        return load_dataset("mnist", data_dir), folder_source(data_dir)
    source = source or "mnist"
    return load_dataset(source, seed=seed), source


def _steps(
    out: Path, name: str, source: str, epochs: int | None, seed: int, quiet: bool, verbose: bool
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
    yield ["export", model, *data, "--out", bundle, *options]
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
