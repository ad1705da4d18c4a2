"""`tinsmith train` and `tinsmith demo`: arguments in, results out."""

import argparse
import json
import sys
from pathlib import Path

from tinsmith_data import load_dataset
from tinsmith_data.options import add_data
from tinsmith_data.quiet import results_alone
from tinsmith_runtime.cli.toml import toml_text
from tinsmith_runtime.files import write_whole
from tinsmith_train.demo import TASKS, demo
from tinsmith_train.history import Progress
from tinsmith_train.recipe import RECIPES, find_recipe
from tinsmith_train.runfolder import SETTINGS, TrainResult, check_writable, describe
from tinsmith_train.terminal import TerminalProgress
from tinsmith_train.training import check_numbers, train

_ABOUT = (
    ", with labels or boxes; a fifth is kept for testing where training and test data are not apart"
)


def configure_train(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith train`."""
    models = "; ".join(f"{name}: {recipe.summary}" for name, recipe in RECIPES.items())
    parser.add_argument("--model", default="cnn", metavar="NAME", help=models)
    add_data(parser, "mnist; scenes for a detector", _ABOUT)
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the model's own")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: the model's own")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="default: the model's own"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the run folder; default: runs/MODEL"
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


def _add_loudness(parser: argparse.ArgumentParser) -> None:
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no progress, only results")
    loudness.add_argument("--verbose", action="store_true", help="let TensorFlow log")


def _run_train(arguments: argparse.Namespace) -> int:
    task = find_recipe(arguments.model).task
    # Before the data is read.
    check_numbers(arguments.epochs, arguments.batch_size, arguments.learning_rate, arguments.seed)
    out = arguments.out or Path("runs", arguments.model)
    check_writable(out, task)
    source = arguments.data or arguments.dataset or ("scenes" if task == "detect" else "mnist")
    progress = Progress() if arguments.quiet else TerminalProgress()
    with results_alone():
        dataset = load_dataset(source, arguments.data_dir, seed=arguments.seed)
        progress.note(f"training {arguments.model} on {dataset.name}; Ctrl-C keeps the best epoch")
        result = train(
            arguments.model,
            dataset,
            out,
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            seed=arguments.seed,
            progress=progress,
            verbose=arguments.verbose,
        )
    write_whole(out / SETTINGS, toml_text(arguments.settings(arguments)).encode())
    if result.stopped:
        print(
            f"tinsmith: stopped after {len(result.epochs)} epochs: kept the best, "
            f"epoch {result.best.number}",
            file=sys.stderr,
        )
    print(json.dumps(describe(result, dataset)) if arguments.json else _say(result))
    return 0


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
    check_numbers(arguments.epochs, None, None, arguments.seed)  # before the data is read
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
