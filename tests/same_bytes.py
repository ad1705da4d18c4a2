"""Shows that a change of the code changed no integer: two commits export the same bytes.

    python tests/same_bytes.py COMMIT                     # every model below: hours on two cores
    python tests/same_bytes.py COMMIT --models resnet8 MobileNet --work FOLDER

COMMIT is checked out beside this tree. Both export the same saved models with the same inputs by
`ptq`, on this machine, and their int8 TFLite and ONNX files are compared byte for byte. A line a
file; exit status 1 if one differs. With `--work` the models and what was exported are kept, and a
later run goes on from there.

Models: the 16 families of `benchmarks/families.py`, `demo` (the demo's network, trained here for
an epoch), and those beside `$TINSMITH_DATA`: `resnet8`, `vww` and `lite0`.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = ("runtime", "train", "export", "benchmarks")
FILES = ("model.int8.tflite", "model.int8.onnx")
sys.path.append(str(ROOT / "benchmarks"))

# Runs in either tree: it knows the public face alone.
DRIVER = """
import sys
from pathlib import Path
from tinsmith_export import Options, export
from tinsmith_runtime import read_bundle
model, inputs, low, high, out = sys.argv[1:]
limits = {name: 100.0 for name in ("max_drop_pp", "max_changed_pp") if hasattr(Options, name)}
options = Options(input_range=(float(low), float(high)), recipe="ptq", **limits)
export(Path(model), inputs, Path(out) / "model.tin", options)
for name, data in read_bundle(Path(out) / "model.tin").files.items():
    (Path(out) / name).write_bytes(data)
"""


def main() -> int:
    """Exports with both trees and compares."""
    import families

    known = (*KINDS, *families.SIZES)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", metavar="COMMIT", help="what to compare this tree with")
    parser.add_argument("--models", nargs="+", choices=known, default=known, metavar="NAME")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep everything there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = (arguments.work or Path(folder)).absolute()
        old = work / "tree"
        if not old.exists():
            git("worktree", "add", "--detach", str(old), arguments.commit)
        try:
            return max([compared(name, old, work) for name in arguments.models])
        finally:
            if arguments.work is None:
                git("worktree", "remove", "--force", str(old))


def compared(name: str, old: Path, work: Path) -> int:
    """Exports one model with both trees; 1 if the files differ."""
    source = work / name
    if not (source / "range.json").exists():
        source.mkdir(parents=True, exist_ok=True)
        apart = [sys.executable, "-c", MAKER, __file__, name, str(source)]
        subprocess.run(apart, check=True, env=environment(ROOT))
    found = {}
    for title, tree in (("before", old), ("after", ROOT)):
        out = source / title
        if title == "after" or not all((out / file).exists() for file in FILES):
            exported(source, tree, out)
        found[title] = [hashlib.sha256((out / file).read_bytes()).hexdigest() for file in FILES]
    for file, *digests in zip(FILES, found["before"], found["after"], strict=True):
        same = len(set(digests)) == 1
        print(f"{name} {file}: {'the same' if same else 'DIFFERS'}, {digests[1]}", flush=True)
    return int(found["before"] != found["after"])


MAKER = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("same_bytes", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.prepare(sys.argv[2], Path(sys.argv[3]))
"""


def prepare(name: str, folder: Path) -> None:
    """Saves a model and its inputs in a folder; `range.json` is what its pixels stand for."""
    import numpy as np

    inputs, span = KINDS.get(name, family)(name, folder)
    np.save(folder / "inputs.npy", inputs)
    (folder / "range.json").write_text(json.dumps(span))


def exported(source: Path, tree: Path, out: Path) -> None:
    """Exports with the code of a tree."""
    out.mkdir(exist_ok=True)
    model = next(path for path in source.iterdir() if path.stem == "model")
    low, high = json.loads((source / "range.json").read_text())
    words = [str(model), str(source / "inputs.npy"), str(low), str(high), str(out)]
    subprocess.run([sys.executable, "-c", DRIVER, *words], check=True, env=environment(tree))


def environment(tree: Path) -> dict[str, str]:
    """Python finds the packages of a tree before those that are installed."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(tree / room) for room in ROOMS)}


def git(*words: str) -> None:
    """Runs git in this repository."""
    subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True)


def family(name: str, folder: Path) -> tuple[Any, Any]:
    """A family of keras.applications with random weights."""
    import families

    model, inputs, span = families.source(name)
    model.save(folder / "model.keras")
    return inputs, span


def demo(name: str, folder: Path) -> tuple[Any, Any]:
    """The demo's network after an epoch on digits."""
    words = ["train", "--data", "mnist", "--epochs", "1", "--out", str(folder / "run")]
    subprocess.run([sys.executable, "-m", "tinsmith_runtime", *words], check=True)
    (folder / "run" / "model.keras").rename(folder / "model.keras")
    from tinsmith_data import load_dataset

    return load_dataset("mnist").x_test[:1000], (0.0, 1.0)


def resnet8(name: str, folder: Path) -> tuple[Any, Any]:
    """ResNet-8 on CIFAR-10."""
    import numpy as np

    with np.load(data("cifar10/cifar10-jpeg-subset.npz")) as arrays:
        inputs = arrays["x_train"]
    link(folder, data("../models/mlperf-tiny/pretrainedResnet.h5"))
    return inputs, (0.0, 255.0)


def vww(name: str, folder: Path) -> tuple[Any, Any]:
    """MobileNetV1 0.25 for 96 x 96 pixels."""
    link(folder, data("../models/mlperf-tiny/vww_96.h5"))
    return photographs(96), (0.0, 1.0)


def lite0(name: str, folder: Path) -> tuple[Any, Any]:
    """EfficientNet-Lite0 with its ImageNet weights."""
    link(folder, data("../models/efficientnet-lite0/lite0.keras"))
    return photographs(224), (-127 / 128, 1.0)


def photographs(size: int) -> Any:
    """Two hundred photographs of ImageNet, `uint8 (N, size, size, 3)`."""
    import zipfile

    import numpy as np
    from PIL import Image

    with zipfile.ZipFile(data("imagenet-sample/images.zip")) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][:200]
        images = [Image.open(archive.open(name)).convert("RGB") for name in names]
        return np.stack([np.asarray(image.resize((size, size))) for image in images])


def data(name: str) -> Path:
    """A file of the shared data."""
    return Path(os.environ["TINSMITH_DATA"]) / name


def link(folder: Path, model: Path) -> None:
    """Names a model file as the others are named."""
    (folder / f"model{model.suffix}").symlink_to(model.resolve())


KINDS: dict[str, Callable[[str, Path], tuple[Any, Any]]] = {
    "demo": demo,
    "resnet8": resnet8,
    "vww": vww,
    "lite0": lite0,
}

if __name__ == "__main__":
    sys.exit(main())
