"""`tinsmith run`: predictions for files, folders, globs, standard input or a camera."""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_runtime.answers import rank
from tinsmith_runtime.api import load
from tinsmith_runtime.batch import each
from tinsmith_runtime.bundle import Input
from tinsmith_runtime.errors import UsageError, printable
from tinsmith_runtime.inputs.samples import Sample, camera_samples, find_samples
from tinsmith_runtime.model import Model

EXAMPLES = """examples:
  tinsmith run digits.tin photo.png folder/ 'scans/**/*.jpg'
  curl -s camera.local/now.jpg | tinsmith run digits.tin -
  tinsmith run digits.tin --camera --min-probability 0.9 --json
  tinsmith run digits.tin --camera video.mp4
  tinsmith run birds.tin garden.jpg --draw found/   # boxes, if the bundle describes a detector
  tinsmith run motor.tin readings.csv         # a model of features: a line a row
  tinsmith run heart.tin beat.csv             # of steps: the rows of a file are a sequence
  tinsmith run pair.tin samples.npz           # of several inputs: an array for each, by its name
"""


def configure_run(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith run`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .tin file or folder")
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="PNG, JPEG or .npy files (features: .csv, .npy, .npz; several "
        "inputs: .npz), folders, globs, - for standard input",
    )
    parser.add_argument(
        "--camera",
        nargs="?",
        const="0",
        metavar="SOURCE",
        help="read frames instead of files; SOURCE: a camera's number (default 0) or a video file",
    )
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="stop after N frames (default: when the source ends)",
    )
    _add_limits(parser)
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="native, litert, onnx, another, or auto: the first installed (default)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine (default 1)")
    add_trusted_key(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object for each input")
    parser.set_defaults(run=_run)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Which classes or boxes are told, and where boxes are drawn."""
    parser.add_argument(
        "--top",
        type=int,
        metavar="K",
        help="how many classes or boxes to print for each input (default: 1 class, all boxes)",
    )
    parser.add_argument(
        "--min-probability",
        type=float,
        metavar="P",
        help="print only classes or boxes of at least this probability, 0 to 1 (default: 0 of "
        "classes, of boxes what the bundle says)",
    )
    parser.add_argument(
        "--iou",
        type=float,
        metavar="SHARE",
        help="of boxes with one label that overlap by more (intersection over union) print the "
        "best, 0 to 1 (default: what the bundle says)",
    )
    parser.add_argument(
        "--draw", type=Path, metavar="FOLDER", help="write a copy of each picture there, with boxes"
    )


def add_trusted_key(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Adds `--trusted-key`, which becomes `trusted_keys`: a list, or `None` if it is not given."""
    parser.add_argument(
        "--trusted-key",
        action="append",
        type=Path,
        dest="trusted_keys",
        metavar="KEY",
        help="a public key, NAME.pub: refuse a bundle that none of these signed; "
        f"may be given several times{more}",
    )


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    count = failed = 0
    with load(
        arguments.bundle,
        arguments.backend,
        arguments.threads,
        trusted_keys=arguments.trusted_keys,
    ) as model:
        samples = _samples(model, arguments)
        predict = _streaming(model) if model.manifest.states else _predicting(model)
        answer_to: Callable[[Sample], dict[str, Any]] = partial(_answer, model, arguments, predict)
        if model.manifest.boxes:
            from tinsmith_runtime.cli.boxes import Boxes

            boxes = Boxes(model, arguments)
            samples, answer_to = boxes.apart(samples), boxes.answer
        elif arguments.draw or arguments.iou is not None:
            raise UsageError("--draw, --iou: the bundle does not describe boxes")
        for sample in samples:
            count += 1
            try:
                answer = answer_to(sample)
            except UsageError as error:
                print(f"tinsmith: error: {error}", file=sys.stderr)
                failed += 1
            else:
                # Flushed: whoever reads a camera's lines wants each of them now.
                said = json.dumps(answer) if arguments.json else printable(_words(answer, model))
                print(said, flush=True)
    if failed:
        print(f"tinsmith: {failed} of {count} inputs could not be read", file=sys.stderr)
    return 1 if failed else 0


def _samples(model: Model, arguments: argparse.Namespace) -> Iterator[Sample]:
    if arguments.camera is None:
        return find_samples(arguments.inputs, _given(model))
    frames = camera_samples(arguments.camera, _given(model))
    return itertools.islice(frames, arguments.frames)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.top is not None and arguments.top < 1:
        raise UsageError(f"--top: expected a number from 1, got {arguments.top}")
    for name in ("min_probability", "iou"):
        share = getattr(arguments, name)
        if share is not None and not 0 <= share <= 1:
            option = name.replace("_", "-")
            raise UsageError(f"--{option}: expected a number from 0 to 1, got {share:g}")
    if bool(arguments.inputs) == (arguments.camera is not None):
        raise UsageError("run: expected INPUT, or --camera; see `tinsmith run --help`")
    if arguments.frames is not None and (arguments.frames < 1 or arguments.camera is None):
        raise UsageError("--frames: expected a number from 1, and --camera")


def _given(model: Model) -> list[Input]:
    """What a user gives."""
    return [entry for entry in model.inputs if entry.kind != "state"]


def _predicting(model: Model) -> Callable[[Sample], Any]:
    """What a model gives for each sample by itself."""

    def predict(sample: Sample) -> Any:
        found = model.predict(each(lambda array: array[np.newaxis], sample.read()))
        if isinstance(found, dict):
            return {output: values[0] for output, values in found.items()}
        return found[0]

    return predict


def _streaming(model: Model) -> Callable[[Sample], Any]:
    """What a model gives for the samples of a file as the steps of a sequence."""
    stream, file = model.stream(), ""

    def predict(sample: Sample) -> Any:
        nonlocal file
        if sample.file != file:
            stream.reset()
            file = sample.file
        return stream.step(sample.read())

    return predict


def _answer(
    model: Model, arguments: argparse.Namespace, predict: Callable[[Sample], Any], sample: Sample
) -> dict[str, Any]:
    found = predict(sample)
    kind = model.input.kind if len(_given(model)) == 1 else "inputs"
    name = {kind: sample.name}
    if isinstance(found, dict):
        return {**name, "outputs": {output: values.tolist() for output, values in found.items()}}
    if model.output.kind == "values":
        return {**name, "values": found.tolist()}
    predictions = [
        asdict(prediction)
        for prediction in rank(found.tolist(), model.labels, arguments.top or 1)
        if prediction.probability >= (arguments.min_probability or 0)
    ]
    return {**name, "predictions": predictions}


def _words(answer: dict[str, Any], model: Model) -> str:
    name, found = answer.values()
    if "outputs" in answer:
        return f"{name}: " + "  ".join(f"{output} {_numbers(found[output])}" for output in found)
    if "values" in answer:
        return f"{name}: {_numbers(found)}"
    # A classifier without an activation gives logits, or whatever its last layer does.
    form = ".6g" if model.output.kind == "logits" and model.output.activation == "none" else ".1%"
    words = "  ".join(f"{p['label']} {p['probability']:{form}}{_sides(p)}" for p in found)
    return f"{name}: {words or 'nothing that probable'}"


def _sides(found: dict[str, Any]) -> str:
    return " ({:.0f} {:.0f} {:.0f} {:.0f})".format(*found["box"]) if "box" in found else ""


def _numbers(values: object) -> str:
    return " ".join(f"{value:.6g}" for value in np.ravel(np.asarray(values)))
