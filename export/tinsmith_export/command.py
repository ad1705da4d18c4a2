"""`tinsmith export`: arguments in, ladder and parity out."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tinsmith_export.exporting import Exported, Options, Progress, export
from tinsmith_runtime.errors import UsageError
from tinsmith_train import load_dataset


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith export`."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a Keras file: NAME.keras (Keras 3 or tf_keras) or NAME.h5",
    )
    parser.add_argument(
        "--dataset",
        default="mnist",
        metavar="NAME",
        help="to calibrate, fine-tune and prove on: mnist, digits, a FILE.npz or "
        "module:function; default: mnist",
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
    recipe = parser.add_mutually_exclusive_group()
    recipe.add_argument(
        "--qat-epochs",
        type=int,
        default=2,
        metavar="N",
        help="epochs of quantization-aware fine-tuning; default: 2",
    )
    recipe.add_argument(
        "--ptq", action="store_true", help="post-training quantization, no fine-tuning"
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
    if arguments.qat_epochs < 0:
        raise UsageError(f"--qat-epochs: expected 0 or more, got {arguments.qat_epochs}")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise UsageError(f"--out {out}: expected a file in a folder that exists")
    if not arguments.model.is_file():
        raise UsageError(f"{arguments.model}: no such model: make one with `tinsmith train`")
    dataset = load_dataset(arguments.dataset, arguments.data_dir)
    options = Options(
        input_range=tuple(arguments.input_range),
        qat_epochs=0 if arguments.ptq else arguments.qat_epochs,
        max_drop_pp=arguments.max_drop_pp,
        seed=arguments.seed,
    )
    progress = Progress() if arguments.quiet else TerminalProgress()
    try:
        exported = export(
            arguments.model, dataset, out, options, progress, verbose=arguments.verbose
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
        }
    )


def _say(exported: Exported, out: Path) -> list[str]:
    manifest, parity = exported.manifest, exported.manifest.quality.parity
    ladder = manifest.quality.ladder
    best = max(exported.checkpoints, key=lambda checkpoint: checkpoint.rank)
    lines = [f"accuracy on {ladder[0].count:,} test images of {manifest.training.dataset}"]
    for rung in ladder:
        change_pp = (rung.accuracy - ladder[0].accuracy) * 100
        change = "" if rung is ladder[0] else f"  {change_pp:+.2f} points"
        lines.append(f"  {rung.stage:<8}{rung.accuracy:8.2%}{change}")
    if len(exported.checkpoints) > 1:
        lines.append(
            f"tuned    kept step {best.step} of {exported.checkpoints[-1].step}: agrees with float "
            f"on {best.agreement:.2%} of the images held back "
            f"({exported.checkpoints[0].agreement:.2%} before)"
        )
    seven = [layer.name for layer in manifest.layers if layer.weight_bits == 7]
    kernels = ", ".join(f"{count} {name}" for name, count in exported.kernels.items())
    equal = "all" if parity.equal == parity.compared else f"{parity.equal:,}"
    lines += [
        f"weights  7 bits in {len(seven)} of {len(manifest.layers)} layers, 8 in the rest",
        f"kernels  integer in every layer: {kernels} in ONNX Runtime",
        f"parity   {equal} of {parity.compared:,} TFLite and ONNX outputs equal to the bit, "
        f"largest difference {parity.max_difference_lsb} LSB, "
        f"top-1 the same on {parity.top1_agreement:.2%}",
    ]
    lines += [f"file     {v.file:<18} {v.size_bytes:>9,} bytes" for v in manifest.variants]
    return [*lines, f"written  {out}"]
