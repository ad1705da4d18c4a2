"""`tinsmith export`: arguments in, ladder and parity out."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tinsmith_export.exporting import Exported, Options, Progress, export
from tinsmith_export.measures import wilson
from tinsmith_export.samples import find_calibration
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.manifest import Manifest, Parity
from tinsmith_train import load_dataset
from tinsmith_train.named import import_named
from tinsmith_train.noise import import_tensorflow


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith export`."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a Keras file, NAME.keras (Keras 3 or tf_keras) or NAME.h5, or a SavedModel folder",
    )
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument(
        "--dataset",
        metavar="NAME",
        help="labelled images to calibrate, fine-tune and prove on: mnist, digits, a FILE.npz or "
        "module:function; default, without --calibration: mnist",
    )
    inputs.add_argument(
        "--calibration",
        metavar="SOURCE",
        help="instead of --dataset, inputs such as the board will see, labels not needed: FILE.npz "
        "(one array, or x, or x_train and x_test), FILE.npy, a FOLDER of images, mnist, digits, or "
        "module:function that returns an array or yields batches. uint8 (N, H, W, C) are pixels, "
        "floats are features. A fifth is kept for the proof; labels, if any (y, y_test), are "
        "never learned from and tell the accuracy",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="MNIST's four IDX files, gzipped or not; default: $TINSMITH_DATA/mnist",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the bundle; default: NAME.tin beside the model"
    )
    parser.add_argument(
        "--recipe",
        choices=("ptq", "qat"),
        default="qat",
        help="ptq: calibrate and round; qat: then fine-tune too, and keep it if it is better; "
        "default: qat",
    )
    parser.add_argument(
        "--qat-steps",
        type=int,
        default=Options.qat_steps,
        metavar="N",
        help=f"steps of fine-tuning, up to 128 inputs each; default: {Options.qat_steps}",
    )
    parser.add_argument(
        "--input-range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="what the model takes for pixels 0 and 255; default: 0 1",
    )
    parser.add_argument(
        "--input-shape",
        type=int,
        nargs="+",
        metavar="SIZE",
        help="the input's H W C, for a model that takes several sizes or was not built",
    )
    parser.add_argument(
        "--output", metavar="NAME", help="which output to compile of a model that has several"
    )
    parser.add_argument(
        "--custom-objects",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a layer class or function of your own that the file needs; may be given again",
    )
    parser.add_argument(
        "--max-drop-pp",
        type=float,
        default=0.5,
        metavar="PP",
        help="fail if int8 loses more points of accuracy; default: 0.5",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no progress, only results")
    loudness.add_argument("--verbose", action="store_true", help="let TensorFlow log")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    out = arguments.out or arguments.model.with_suffix(".tin")
    if arguments.qat_steps < 1:
        raise UsageError(
            f"--qat-steps: expected 1 or more, got {arguments.qat_steps}: for none, --recipe ptq"
        )
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UsageError(f"--out {out}: expected a file in a folder that exists")
    if not arguments.model.exists():
        raise UsageError(f"{arguments.model}: no such model: make one with `tinsmith train`")
    samples = arguments.calibration
    if samples is None:
        samples = load_dataset(arguments.dataset or "mnist", arguments.data_dir)
    else:
        find_calibration(samples)
    if arguments.custom_objects:
        import_tensorflow(arguments.verbose)  # first, for the user's module imports Keras as loudly
    objects = [import_named(spec) for spec in arguments.custom_objects]
    options = Options(
        input_range=tuple(arguments.input_range),
        recipe=arguments.recipe,
        qat_steps=arguments.qat_steps,
        max_drop_pp=arguments.max_drop_pp,
        seed=arguments.seed,
        input_shape=tuple(arguments.input_shape) if arguments.input_shape else None,
        output=arguments.output,
        custom_objects={value.__name__: value for value in objects},
    )
    progress = Progress() if arguments.quiet else TerminalProgress()
    try:
        exported = export(
            arguments.model, samples, out, options, progress, verbose=arguments.verbose
        )
    finally:
        progress.stop()
    print(_as_json(exported, out) if arguments.json else "\n".join(_say(exported, out)))
    return 0


class TerminalProgress(Progress):
    """Tells a person on standard error: a line a stage, a bar for fine-tuning on a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("fine-tuning"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def stage(self, text: str) -> None:
        """Prints a line."""
        self.stop()
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Prints a line."""
        self.stage(f"warning: {text}")

    def step(self, step: int, steps: int, loss: float) -> None:
        """Moves the bar on."""
        if not self._bar.tasks:
            self._bar.add_task("", total=steps, loss=loss)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=step, loss=loss)

    def stop(self) -> None:
        """Takes the bar away."""
        self._bar.stop()


def _as_json(exported: Exported, out: Path) -> str:
    manifest = exported.manifest
    return json.dumps(
        {
            "bundle": str(out),
            "quality": asdict(manifest.quality),
            "variants": [asdict(variant) for variant in manifest.variants],
            "layers": [asdict(layer) for layer in manifest.layers],
            "checkpoints": [asdict(checkpoint) for checkpoint in exported.checkpoints],
            "onnxruntime_kernels": dict(exported.kernels),
            "warnings": exported.warnings,
            "peak_memory_mb": round(exported.peak_memory_mb),
        }
    )


def _say(exported: Exported, out: Path) -> list[str]:
    manifest, quality = exported.manifest, exported.manifest.quality
    lines = [*_ladder(manifest), *_tuning(exported)]
    seven = [layer.name for layer in manifest.layers if layer.weight_bits == 7]
    kernels = ", ".join(f"{count} {name}" for name, count in exported.kernels.items())
    lines += [
        f"weights  7 bits in {len(seven)} of {len(manifest.layers)} layers, 8 in the rest",
        f"kernels  integer in every layer: {kernels} in ONNX Runtime",
        f"parity   {_parity(quality.parity)}",
        f"         on random inputs {_parity(quality.parity_random)}",
    ]
    lines += [f"file     {v.file:<18} {v.size_bytes:>9,} bytes" for v in manifest.variants]
    lines += [f"warning  {warning}" for warning in exported.warnings]
    return [*lines, f"memory   {exported.peak_memory_mb:,.0f} MB at most", f"written  {out}"]


def _ladder(manifest: Manifest) -> list[str]:
    quality = manifest.quality
    first, *_ = ladder = quality.ladder
    labelled = first.accuracy is not None
    what = "accuracy [95 % interval]" if labelled else "against float, no labels"
    lines = [f"{what}, {first.count:,} inputs of {manifest.training.dataset}"]
    for rung in ladder:
        parts = [f"  {rung.stage:<10}"]
        if rung.accuracy is not None and first.accuracy is not None:
            low, high = wilson(round(rung.accuracy * rung.count), rung.count)
            parts.append(f"{rung.accuracy:8.2%} [{low:.2%}, {high:.2%}]")
            change_pp = (rung.accuracy - first.accuracy) * 100
            parts.append("" if rung is first else f"{change_pp:+.2f} points")
        if rung is not first:
            if rung.agreement is not None:
                parts.append(f"answers as float {rung.agreement:.2%}")
            if rung.sqnr_db is not None:
                parts.append(f"SQNR {rung.sqnr_db:.1f} dB")
        lines.append("  ".join(part for part in parts if part))
    if quality.mcnemar_p is not None:
        chance = "may be chance" if quality.mcnemar_p > 0.05 else "is more than chance"
        lines.append(f"  the change {chance} (McNemar p = {quality.mcnemar_p:.2g})")
    return lines


def _tuning(exported: Exported) -> list[str]:
    if len(exported.checkpoints) == 1:
        return []
    best = max(exported.checkpoints, key=lambda checkpoint: checkpoint.rank)
    before, after = exported.checkpoints[0].mean_squared_error, best.mean_squared_error
    return [
        f"tuned    kept step {best.step} of {exported.checkpoints[-1].step}: mean squared error to "
        f"float on inputs held back {after:.3g} ({before:.3g} before)"
    ]


def _parity(parity: Parity) -> str:
    equal = "all" if parity.equal == parity.compared else f"{parity.equal:,}"
    agreed = parity.top1_agreement
    same = "" if agreed is None else f", top-1 the same on {agreed:.2%}"
    return (
        f"{equal} of {parity.compared:,} TFLite and ONNX outputs equal to the bit, "
        f"largest difference {parity.max_difference_lsb} LSB{same}"
    )
