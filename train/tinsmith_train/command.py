"""`tinsmith train` and `tinsmith demo`: arguments in, results out."""

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from tinsmith_data import load_dataset
from tinsmith_data.folder import SIZE
from tinsmith_data.limits import require, require_real, require_whole
from tinsmith_data.options import add_data
from tinsmith_data.quiet import results_alone
from tinsmith_data.sources import Kind, kind_of
from tinsmith_runtime.cli.toml import toml_text
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import write_whole
from tinsmith_train.demo import TASKS, demo
from tinsmith_train.history import Progress
from tinsmith_train.pretrained import load_network
from tinsmith_train.recipe import AUGMENTATIONS, RECIPES, default_model, find_recipe
from tinsmith_train.runfolder import SETTINGS, TrainResult, check_writable, describe
from tinsmith_train.settings import SIZES, Settings, check_model
from tinsmith_train.terminal import TerminalProgress
from tinsmith_train.training import train

_UNIT = (0.0, 1.0)  # what models take for pixels 0 and 255
_ABOUT = (
    ", with labels or boxes; a fifth is kept for testing where training and test data are not apart"
)


def configure_train(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith train`."""
    models = "; ".join(f"{name}: {recipe.summary}" for name, recipe in RECIPES.items())
    default = "detector for boxes, mobilenet for images of more than 64 pixels a side, else cnn"
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"{models}; or FILE.keras, whose layers are trained from fresh weights; default: "
        f"{default}",
    )
    add_data(parser, "mnist; scenes for a detector", _ABOUT)
    _add_photos(parser)
    _add_init(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the model's own")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: the model's own")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="default: the model's own"
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        metavar="PART",
        help="the part of the steps in which the learning rate rises; default: the model's own",
    )
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="end after so many epochs that are no better; default: never",
    )
    parser.add_argument(
        "--held-back",
        type=float,
        metavar="PART",
        help="hold this part of each class back to choose the best epoch; default: the model's "
        "own part of all images",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the run folder; default: runs/MODEL"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on after the last epoch of a run with the same options that was killed; it ends "
        "with the same weights",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    _add_loudness(parser)
    parser.set_defaults(run=_run_train)


def configure_demo(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith demo`."""
    parser.add_argument(
        "--task",
        choices=TASKS,
        default="classify",
        help="classify digits, or detect them in scenes; default: classify",
    )
    add_data(
        parser,
        "mnist, or scenes of it to detect in, if it is at hand or can be downloaded; else digits, "
        "or digit-scenes",
        _ABOUT,
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the model's own")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where all results go; default: runs/demo, or runs/detect",
    )
    _add_loudness(parser)
    parser.set_defaults(run=_run_demo)


def _add_photos(parser: argparse.ArgumentParser) -> None:
    """What a folder of photos becomes, and the models for them."""
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="fit a folder's images to N by N pixels; default: their own size if they have one up "
        "to 128 by 128, else 96",
    )
    parser.add_argument("--grey", action="store_true", help="one channel, for a folder's images")
    parser.add_argument(
        "--width",
        type=float,
        metavar="FACTOR",
        help="multiplies the filters of mobilenet (default: 0.25), mobilenetv2 (0.35), resnet (1) "
        "and dscnn (1)",
    )
    parser.add_argument(
        "--depth", type=int, metavar="N", help="layers of a resnet: 8, 14 or 20; default: 8"
    )
    parser.add_argument(
        "--augment",
        metavar="KIND",
        help=f"change training images at random: {', '.join(AUGMENTATIONS)}. shifts: turn, zoom, "
        "shear and shift; photos: also mirror, and change brightness and contrast; auto: photos "
        "where images have colours, else shifts; default: auto, for mlp and lenet none",
    )


def _add_init(parser: argparse.ArgumentParser) -> None:
    """A trained network to begin with."""
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="begin with a trained network, a .keras file of Keras 3, instead of --model: a new "
        "head learns alone in the first half of the epochs, then all of it at a tenth of the rate",
    )
    parser.add_argument(
        "--input-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what the network of --init takes for pixels 0 and 255; default: 0 1",
    )


def _add_loudness(parser: argparse.ArgumentParser) -> None:
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no progress, only results")
    loudness.add_argument("--verbose", action="store_true", help="let TensorFlow log")


def _run_train(arguments: argparse.Namespace) -> int:
    said = {field.name: getattr(arguments, field.name) for field in fields(Settings)}
    _check(arguments, Settings(**said))  # before the data is read
    detects = arguments.model is not None and find_recipe(arguments.model).task == "detect"
    source = arguments.data or arguments.dataset or ("scenes" if detects else "mnist")
    progress = Progress() if arguments.quiet else TerminalProgress()
    with results_alone():
        init, shape, size = None, None, arguments.size
        if arguments.init:
            init = load_network(
                arguments.init, tuple(arguments.input_range or _UNIT), arguments.verbose
            )
            if kind_of(source) is Kind.FOLDER:
                shape, size = init.image_shape(size, SIZE), None
        dataset = load_dataset(
            source,
            arguments.data_dir,
            seed=arguments.seed,
            shape=shape,
            size=size,
            grey=arguments.grey,
        )
        model = arguments.model or default_model(dataset)
        name = init.path.stem if init else Path(model).stem
        progress.note(f"training {name} on {dataset.name}; Ctrl-C keeps the best epoch")
        out = arguments.out or Path("runs", name)
        result = train(
            None if init else model,
            dataset,
            out,
            **said,
            init=init,
            resume=arguments.resume,
            progress=progress,
            verbose=arguments.verbose,
        )
    arguments.model = None if init else model  # what the data decided, to repeat it
    write_whole(out / SETTINGS, toml_text(arguments.settings(arguments)).encode())
    if result.stopped:
        print(
            f"tinsmith: stopped after {len(result.epochs)} epochs: kept the best, "
            f"epoch {result.best.number}",
            file=sys.stderr,
        )
    print(json.dumps(describe(result, dataset)) if arguments.json else _say(result))
    return 0


def _check(arguments: argparse.Namespace, settings: Settings) -> None:
    """Checks what can be checked without data."""
    settings.check()
    if arguments.size is not None:
        require_whole("size", arguments.size, *SIZES)
    if arguments.init and (arguments.model or arguments.grey):
        option = "--model" if arguments.model else "--grey"
        raise UsageError(f"--init says the network and its images: leave {option} out")
    if arguments.input_range and not arguments.init:
        raise UsageError("--input-range is for --init: the models of train take pixels as 0 to 1")
    low, high = arguments.input_range or _UNIT
    for name, value in (("LOW", low), ("HIGH", high)):
        require_real(f"--input-range {name}", value, -1e6, 1e6)
    require(low < high, "--input-range", "LOW below HIGH", (low, high))
    name = arguments.init.stem if arguments.init else arguments.model
    task = check_model(name, settings, bool(arguments.init)).task if name else "classify"
    if name or arguments.out:
        check_writable(arguments.out or Path("runs", Path(name).stem), task)


def _say(result: TrainResult) -> str:
    best = result.best
    held_back = "" if best.val_accuracy is None else f", {best.val_accuracy:.2%} held back"
    return "\n".join(
        [
            f"model     {result.model}: {result.parameters:,} parameters, {result.macs:,} "
            "multiply-accumulates",
            f"kept      epoch {best.number} of {len(result.epochs)}: {best.accuracy:.2%} in "
            f"training{held_back}",
            f"test      {_tested(result)} images of {result.dataset}",
            f"time      {result.seconds:.0f} s",
            f"written   {result.out / 'model.keras'}",
        ]
    )


def _tested(result: TrainResult) -> str:
    if result.test_accuracy is None:
        return (
            f"mAP@0.5 {result.test_map50:.2%}, mAP@0.5:0.95 {result.test_map:.2%} on "
            f"{result.test_images:,}"
        )
    return f"{result.test_accuracy:.2%}: {result.test_correct:,} of {result.test_images:,}"


def _run_demo(arguments: argparse.Namespace) -> int:
    Settings(epochs=arguments.epochs, seed=arguments.seed).check()  # before the data is read
    default = Path("runs", "detect" if arguments.task == "detect" else "demo")
    return demo(
        arguments.out or default,
        task=arguments.task,
        source=arguments.data or arguments.dataset,
        data_dir=arguments.data_dir,
        epochs=arguments.epochs,
        seed=arguments.seed,
        quiet=arguments.quiet,
        verbose=arguments.verbose,
    )
