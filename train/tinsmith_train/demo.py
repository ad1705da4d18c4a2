"""`tinsmith demo`: the whole way, by the commands that a person would type."""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith_data.dataset import Dataset, load_dataset
from tinsmith_data.errors import DatasetError
from tinsmith_train.runfolder import check_writable


def demo(
    out: Path,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    quiet: bool = False,
    verbose: bool = False,
) -> int:
    """Trains `cnn`, exports it and measures it, each step by its own command.

    Args:
        out: the folder for everything: the run folder, `digits.tin`, `report.json`, `.md` and
            `.html`, and `digit.png`, a test image to try the bundle on.
        dataset: as for `load_dataset`; MNIST if it can be had, else `digits`, if `None`.
        data_dir: where MNIST's IDX files are.
        epochs: the model's own if `None`.
        seed: of training and export.
        quiet: the steps show no progress.
        verbose: the steps let TensorFlow log.

    Returns:
        0, or the exit status of the step that failed.

    Raises:
        UsageError: no such dataset, or no folder can be where `out` is.
    """
    started = time.perf_counter()
    check_writable(out)
    data, why = _choose(dataset, data_dir)
    print(
        f"tinsmith demo on {data.name}: {len(data.y_train):,} training and {len(data.y_test):,} "
        f"test images{why}"
    )
    model, bundle, picture = out / "model.keras", out / "digits.tin", out / "digit.png"
    source = ["--dataset", dataset or data.name]
    if data_dir is not None:
        source += ["--data-dir", str(data_dir)]
    loudness = ["--quiet"] if quiet else []
    options = ["--seed", str(seed)] if seed else []
    options += ["--verbose"] if verbose else loudness
    count = [] if epochs is None else ["--epochs", str(epochs)]
    kinds = {"--json": "report.json", "--markdown": "report.md", "--html": "report.html"}
    report = [word for option, name in kinds.items() for word in (option, str(out / name))]
    for words in (
        ["train", "--model", "cnn", *source, *count, "--out", str(out), *options],
        ["export", str(model), *source, "--out", str(bundle), *options],
        ["bench", str(bundle), *source, *report, *loudness],
    ):
        status = _type(words)
        if status:
            return status
    _save_picture(data.x_test[0], picture)
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    print(f"\ndone in {minutes} min {seconds} s; everything is in {out}. Next:")
    for words in (
        ["run", str(bundle), str(picture)],
        ["inspect", str(bundle)],
        ["selftest", str(bundle)],
    ):
        print(f"  {shlex.join(['tinsmith', *words])}")
    return 0


def _choose(dataset: str | None, data_dir: Path | None) -> tuple[Dataset, str]:
    """Gives the dataset and, where it is not the one hoped for, why."""
    if dataset is not None:
        return load_dataset(dataset, data_dir), ""
    try:
        return load_dataset("mnist", data_dir), ""
    except DatasetError as error:
        if data_dir is not None:
            raise
        return load_dataset("digits"), f" (not mnist: {error})"


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
