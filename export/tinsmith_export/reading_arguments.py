"""Arguments that `tinsmith export` and `tinsmith check` share: what a model file does not say."""

import argparse
from pathlib import Path
from typing import Any

from tinsmith_data.named import import_named
from tinsmith_data.quiet import import_tensorflow
from tinsmith_export.boxes import read_head
from tinsmith_export.pixels import CHANNELS, MODES
from tinsmith_runtime.errors import UsageError


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a Keras file, NAME.keras (Keras 3 or tf_keras), NAME.h5 or NAME.hdf5, or a "
        "SavedModel folder",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """What a model file does not say of itself."""
    parser.add_argument(
        "--input-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what the model takes for pixels 0 and 255, in all channels; default: 0 1",
    )
    parser.add_argument(
        "--mean",
        type=float,
        nargs="+",
        metavar="M",
        help="in place of a range: the model takes (pixel - mean) / std of pixels 0 to 255; one "
        "number, or one for each of its channels in its own order; default: 0",
    )
    parser.add_argument("--std", type=float, nargs="+", metavar="S", help="see --mean; default: 1")
    parser.add_argument(
        "--channels",
        choices=CHANNELS,
        help="the order of the model's channels; pixels are given to a bundle as RGB with both; "
        "default: rgb",
    )
    parser.add_argument(
        "--preprocess",
        choices=MODES,
        help="in place of all these, what Keras's preprocess_input does. tf: range -1 1; torch: "
        "mean 123.675 116.28 103.53, std 58.395 57.12 57.375; caffe: channels bgr, mean 103.939 "
        "116.779 123.68",
    )
    parser.add_argument(
        "--input-shape",
        type=int,
        nargs="+",
        metavar="SIZE",
        help="the input's H W C, for a model that takes several sizes or was not built",
    )
    parser.add_argument(
        "--stateful",
        action="store_true",
        help="compile one step of a recurrent model, whose states become inputs and outputs: a "
        "board feeds one step at a time, without end; --data are sequences (N, STEPS, ...)",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        help="compile one of several outputs alone; default: all",
    )
    parser.add_argument(
        "--custom-objects",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a layer class or function of your own that the file needs; may be given again",
    )


def add_boxes(parser: argparse.ArgumentParser) -> None:
    """How the outputs of a detector become boxes."""
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="HEAD.json",
        help="the model is a detector, and this describes its head; "
        "see docs/reference/detector-head.md",
    )


def reading_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_reading` and `add_boxes` added, as fields of `Options`; but for custom objects."""
    lists = {
        name: None if (found := getattr(arguments, name)) is None else tuple(found)
        for name in ("input_range", "mean", "std", "input_shape")
    }
    names = ("channels", "preprocess", "output", "stateful")
    boxes = read_head(arguments.boxes) if arguments.boxes else None
    return lists | {name: getattr(arguments, name) for name in names} | {"boxes": boxes}


def custom_objects(arguments: argparse.Namespace) -> dict[str, Any]:
    """The classes and functions that the user names, by their own names."""
    if arguments.custom_objects:
        import_tensorflow(arguments.verbose)  # first, for the user's module imports Keras as loudly
    found = {}
    for spec in arguments.custom_objects:
        value = import_named(spec)
        if not hasattr(value, "__name__"):
            raise UsageError(f"`{spec}`: expected a class or function, got {type(value).__name__}")
        found[value.__name__] = value
    return found
