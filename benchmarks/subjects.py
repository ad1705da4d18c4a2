"""The models that accuracy.py and export_cost.py measure, and the data that routes are given."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pages import in_process
from routes import ROUTES, Cost, Request
from tinsmith_export.competitors.baselines import CALIBRATION_INPUTS
from tinsmith_export.options import Options
from tinsmith_runtime import TinsmithError, UsageError

DEMO = ("cnn", "lenet", "mlp", "softmax", "softmax-0.25")
_SCRIPT = str(Path(__file__).with_name("routes.py"))


@dataclass(frozen=True, eq=False)
class Subject:
    """A model whose data was read.

    Attributes:
        name: for the table.
        folder: with the files of `routes.py`.
        count: of all inputs.
        train: how many of them come first and are there to train on; 0 if they are not divided.
        labels: `int64 (count,)`, or none.
    """

    name: str
    folder: Path
    count: int
    train: int
    labels: NDArray[np.int64] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what names models and says how they are exported."""
    defaults = Options()
    parser.add_argument("models", nargs="+", metavar="MODEL", help="see above")
    parser.add_argument(
        "--calibration", type=int, default=300, metavar="N", help="inputs (default 300)"
    )
    parser.add_argument("--evaluation", type=int, metavar="N", help="inputs at most (default all)")
    parser.add_argument(
        "--budget", type=float, default=defaults.budget_s, metavar="SECONDS", help="of auto"
    )
    parser.add_argument(
        "--qat-steps", type=int, default=defaults.qat_steps, metavar="N", help="of auto and qat"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs", "accuracy"),
        metavar="FOLDER",
        help="with the trained models CNN/model.keras and so on (default runs/accuracy)",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows there too")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuses numbers that cannot be, before a model is trained.

    Raises:
        UsageError: one is out of its range.
    """
    if not 2 <= arguments.calibration <= CALIBRATION_INPUTS:
        raise UsageError(
            f"--calibration: expected 2 to {CALIBRATION_INPUTS}, got {arguments.calibration}"
        )
    if arguments.evaluation is not None and arguments.evaluation < 1:
        raise UsageError(f"--evaluation: expected 1 or more, got {arguments.evaluation}")
    Options(budget_s=arguments.budget, qat_steps=arguments.qat_steps)


def check_routes(text: str) -> tuple[str, ...]:
    """The routes that a user names, in their own order, `float` among them.

    Raises:
        UsageError: one is unknown, or lacks another that it starts from.
    """
    named = {"float", *text.split(",")}
    unknown = sorted(named.difference(ROUTES))
    if unknown:
        raise UsageError(f"--routes: expected {', '.join(ROUTES)}; got {', '.join(unknown)}")
    if "ort-ptq" in named and "ptq" not in named:
        raise UsageError("--routes: ort-ptq quantizes the float ONNX file of ptq: name ptq too")
    return tuple(route for route in ROUTES if route in named)


def requests(arguments: argparse.Namespace) -> Iterator[tuple[str, Request]]:
    """The models that a user names; those of the demo are trained when their turn comes.

    Raises:
        UsageError: a word names none.
        TinsmithError: training failed.
    """
    words = [w for word in arguments.models for w in (DEMO if word == "all" else [word])]
    found = [_parsed(word, arguments.runs) for word in words]
    for name, model, data, low, high in found:
        if name in DEMO and not Path(model).exists():
            _train(name, Path(model).parent)
        yield name, Request(model, data, low, high, arguments.budget, arguments.qat_steps)


def _parsed(word: str, runs: Path) -> tuple[str, str, str, float, float]:
    if word in DEMO:
        return word, str(runs / word / "model.keras"), "mnist", 0.0, 1.0
    name, _, rest = word.partition("=")
    try:
        model, data, low, high = rest.split(",")
        return name, model, data, float(low), float(high)
    except ValueError as error:
        known = ", ".join((*DEMO, "all"))
        raise UsageError(f"{word}: expected {known} or NAME=FILE,DATA,LOW,HIGH") from error


# At its default rate, 0.25, training is unstable: 67 to 92 % of the test images, by seed and CPU.
_TRAINING = {"softmax": ("--learning-rate", "0.005")}


def _train(name: str, out: Path) -> None:
    print(f"training {name}", file=sys.stderr, flush=True)
    words = ["-m", "tinsmith_runtime", "train", "--model", name.partition("-")[0]]
    words += ["--out", str(out), "--quiet", *_TRAINING.get(name, ())]
    done = subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise TinsmithError(f"{name} could not be trained")


def prepare(name: str, request: Request, folder: Path) -> Subject:
    """Has a model's data read, in a process of its own, into a folder.

    Raises:
        TinsmithError: it cannot be read.
    """
    (folder / "request.json").write_text(json.dumps(asdict(request)), "utf-8")
    found = in_process(_SCRIPT, "prepare", str(folder))
    if "error" in found:
        raise TinsmithError(f"{name}: {found['error']}")
    labels = folder / "labels.npy"
    return Subject(
        name, folder, found["count"], found["train"], np.load(labels) if labels.exists() else None
    )


def splits(
    subject: Subject, calibration: int, evaluation: int | None, rotations: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Which inputs calibrate and which are answered, chosen by a fixed seed.

    Several rotations take all inputs in one order, and begin the calibration data a further part of
    it on each time. What the data say is there to train on calibrates alone, the rest is answered.

    Raises:
        UsageError: there are too few inputs.
    """
    rng = np.random.default_rng(0)
    order = rng.permutation(subject.count)
    for rotation in range(rotations):
        turned = np.roll(order, -(rotation * subject.count // rotations))
        first, rest = turned[:calibration], turned[calibration:]
        if subject.train:
            first = turned[turned < subject.train][:calibration]
            rest = order[order >= subject.train]
        if len(first) < calibration or not len(rest):
            raise UsageError(
                f"{subject.name}: expected more than {calibration} inputs, got {subject.count}"
            )
        yield first, rest[:evaluation]


def take(subject: Subject, calibration: NDArray[np.int64], evaluation: NDArray[np.int64]) -> None:
    """Says which inputs the routes are to take, and removes what came of others."""
    for old in subject.folder.glob("*.tin"):
        old.unlink()
    np.savez(subject.folder / "split.npz", calibration=calibration, evaluation=evaluation)


def go(subject: Subject, route: str) -> Cost:
    """Goes a route in a process of its own; its outputs are then in `ROUTE.npy`.

    Raises:
        TinsmithError: it ends in no file that runs.
    """
    print(f"{subject.name} {route}", file=sys.stderr, flush=True)
    found = in_process(_SCRIPT, route, str(subject.folder))
    if "error" in found:
        raise TinsmithError(found["error"])
    return Cost(**found)


def shown(inputs: Sequence[NDArray[np.int64]], rotations: int) -> str:
    """How many inputs there were, for the table."""
    calibration, evaluation = map(len, inputs)
    times = f"{rotations} x " if rotations > 1 else ""
    return f"{times}{calibration:,} + {evaluation:,}"
