"""Trains a small network of each architecture, exports it by `auto`, and prints a row for each.

    python benchmarks/architectures.py                        # all: half an hour on two cores
    python benchmarks/architectures.py lstm gru --train 4000
    python benchmarks/architectures.py --write docs/architectures.md

The networks are in `networks.py`, what they are trained on in `tasks.py`. Rows of other networks
that the file to write has already, it keeps.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import networks
from pages import in_process, table_head, write

TITLE = "Architectures, trained and compiled"
NOTE = """\
Each network is trained on parts of MNIST (`text`: on lines of Python's library) and exported by
`auto` with its defaults: 300 inputs to calibrate on, without labels. "Right" is the part of the
evaluation inputs that the network has right: the class; for `unet` a mask with IoU of 0.7 or more;
for `pixel-shuffle` PSNR of 20 dB or more; for the detectors class and box, IoU of 0.5 or more. p is
that of McNemar's exact test. "Equal" is the part of the codes that are the same as TFLite's, on the
evaluation inputs, and in brackets the largest difference in LSB."""
COLUMNS = (
    *("network", "layers", "parameters", "inputs", "float right %", "int8 right %", "lost pp", "p"),
    *("SQNR dB", "ONNX Runtime equal", "native equal", "kB", "of float", "took", "export CPU s"),
)
CALIBRATION = 300


def main() -> int:
    """Runs each network in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join(networks.NETWORKS)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=known)
    parser.add_argument("--train", type=int, default=20_000, metavar="N", help="inputs")
    parser.add_argument("--evaluation", type=int, default=5_000, metavar="N", help="inputs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows there too")
    parser.add_argument("--json", action="store_true", help="rows as JSON lines")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.networks).difference(networks.NETWORKS)):
        parser.error(f"unknown: {', '.join(unknown)}; known: {known}")
    sizes = (arguments.train, arguments.evaluation)
    if arguments.one:
        print(json.dumps(measure(arguments.networks[0], *sizes)))
        return 0
    rows = []
    for name in arguments.networks or networks.NETWORKS:
        print(name, file=sys.stderr, flush=True)
        words = ("--train", str(sizes[0]), "--evaluation", str(sizes[1]))
        rows.append({"network": name, **in_process(__file__, name, *words, "--one")})
        if arguments.json:
            print(json.dumps(rows[-1]), flush=True)
        if arguments.write:
            write(arguments.write, TITLE, as_markdown(rows), 1, tuple(networks.NETWORKS), NOTE)
    if not arguments.json:
        print(as_markdown(rows))
    return int(any("error" in row for row in rows))


def measure(name: str, train: int, evaluation: int) -> dict[str, Any]:
    """Trains a network, exports it, and lets every engine judge the same inputs."""
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    import keras

    from tinsmith_export import Options, Samples, compile_model
    from tinsmith_report.statistics import mcnemar_p
    from tinsmith_runtime import load

    keras.utils.set_random_seed(0)
    make, task_of, epochs = networks.NETWORKS[name]
    task = task_of(train, evaluation)
    model = make()
    model.compile(keras.optimizers.Adam(2e-3), task.loss)
    model.fit(task.inputs, task.wanted, batch_size=64, epochs=epochs, verbose=0)
    samples = Samples(name, "0" * 64, task.inputs[:CALIBRATION], None, task.tests, None, ())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "network.tin")
        start = time.process_time()
        exported = compile_model(model, samples, out, Options(max_changed_pp=100.0))
        cpu_s = time.process_time() - start
        with load(out, backend="litert") as loaded:
            found = loaded.predict(task.tests)
    wanted = model.predict(task.tests, verbose=0)
    before, after = task.right(wanted, task.truth), task.right(found, task.truth)
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    quality = exported.manifest.quality
    sizes = {variant.id: variant.size_bytes for variant in exported.manifest.variants}
    return {
        "layers": len(exported.manifest.layers),
        "parameters": model.count_params(),
        "inputs": len(task.tests),
        "float_right": float(before.mean()),
        "int8_right": float(after.mean()),
        "lost_pp": 100 * (lost - won) / len(before),
        "p": mcnemar_p(lost, won),
        "sqnr_db": quality.stages[-1].sqnr_db,
        "parity": {
            one.target: {
                "equal": one.evaluation.equal / one.evaluation.compared,
                "largest": one.evaluation.max_difference_lsb,
            }
            for one in quality.parity
        },
        "size_kb": sizes["int8-tflite"] / 1000,
        "float_share": sizes["int8-tflite"] / sizes["float-tflite"],
        "took": exported.manifest.training.recipe,
        "cpu_s": cpu_s,
        "kernels": {name: dict(found) for name, found in exported.kernels.items()},
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A table, a row a network; a failure keeps its row and says why."""
    lines = table_head(COLUMNS)
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['network']} | {row['error']} |")
            continue
        parity = [
            f"{one['equal']:.2%} ({one['largest']})" if one else "-"
            for one in map(row["parity"].get, ("onnx", "native"))
        ]
        decibels = "-" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}"
        cells = [
            *(row["network"], str(row["layers"]), f"{row['parameters']:,}", f"{row['inputs']:,}"),
            *(f"{100 * row[key]:.2f}" for key in ("float_right", "int8_right")),
            *(f"{row['lost_pp']:+.2f}", f"{row['p']:.2g}", decibels, *parity),
            *(f"{row['size_kb']:,.0f}", f"{row['float_share']:.0%}", row["took"]),
            f"{row['cpu_s']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
