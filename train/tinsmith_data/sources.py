"""Where data comes from: what `--data` names, whatever the sub-command.

| source | what |
|---|---|
| `mnist` | IDX files in `$TINSMITH_DATA/mnist`, else Keras's cache, else Keras's download |
| `digits` | scikit-learn's handwritten digits in MNIST's form; needs no network |
| `scenes`, `digit-scenes` | scenes made of these, with a box around each digit, see `scenes` |
| `FOLDER` | images, see `folder`; or MNIST's four IDX files |
| `FOLDER` with `annotations.json`, `FILE.json` | images with boxes, as COCO has them, see `coco` |
| `FILE.npz` | `x_train`, `y_train`, `x_test`, `y_test`; or `x` and `y`; or one array |
| `FILE.npy` | one array, without labels |
| `module:function` | what the function returns or yields, see `functions` |

In an `.npz` file, `y…` are labels, or boxes (see `boxes`), and may be missing, and `labels` names
the classes. Importing
this module takes numpy alone, so that a board can measure itself on a test set.
"""

from enum import Enum
from pathlib import Path

from tinsmith_data.coco import annotations_of, load_coco
from tinsmith_data.data import Data, Part
from tinsmith_data.dataset import Dataset, make_dataset
from tinsmith_data.digits import load_digits
from tinsmith_data.errors import DatasetError
from tinsmith_data.folder import load_folder
from tinsmith_data.functions import call_function
from tinsmith_data.mnist import holds_mnist, load_mnist
from tinsmith_data.npz import load_npz
from tinsmith_data.scenes import make_scenes
from tinsmith_runtime.bundle import Preprocessing
from tinsmith_runtime.files import open_regular
from tinsmith_runtime.npy import read_npy

_CLASSES = tuple("0123456789")
DATASETS = ("mnist", "digits", "scenes", "digit-scenes")
_TRAIN_SCENES, _TEST_SCENES = 10_000, 1_000


class Kind(Enum):
    """What a source is."""

    DATASET = "a dataset"
    FOLDER = "a folder of images"
    COCO = "images with COCO's annotations"
    NPZ = "an .npz file"
    NPY = "an .npy file"
    FUNCTION = "module:function"


def kind_of(source: str) -> Kind:
    """Says what a source is, without reading it.

    Raises:
        DatasetError: there is none of that name.
    """
    path = Path(source)
    if source in DATASETS:
        return Kind.DATASET
    if annotations := annotations_of(path):
        _require_file(annotations)
        return Kind.COCO
    if path.is_dir():
        return Kind.DATASET if holds_mnist(path) else Kind.FOLDER
    if path.suffix in (".npy", ".npz"):
        _require_file(path)
        return Kind.NPZ if path.suffix == ".npz" else Kind.NPY
    if ":" in source:
        return Kind.FUNCTION
    raise DatasetError(
        f"--data {source}: expected {', '.join(DATASETS)}, a FOLDER, FILE.npz, FILE.npy, "
        "FILE.json or module:function"
    )


def _require_file(path: Path) -> None:
    try:
        open_regular(path).close()
    except FileNotFoundError as error:
        raise DatasetError(f"no file {path}") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def read_data(
    source: str,
    *,
    shape: tuple[int, ...] | None = None,
    names: tuple[str, ...] = (),
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    size: int | None = None,
    grey: bool = False,
) -> Data:
    """Reads what a source holds.

    Args:
        source: see the table of this module.
        shape: `(H, W, C)` that images of a folder are fitted to; see `folder.load_folder`.
        names: of a model's inputs, where it has several.
        preprocessing: how images of a folder are fitted.
        seed: divides a folder of images.
        size: height and width of a folder's images, instead of `shape`.
        grey: gives a folder's images one channel.

    Raises:
        DatasetError: there is no such source, or it cannot be read.
    """
    kind, path = kind_of(source), Path(source)
    if kind is not Kind.FOLDER and (size is not None or grey):
        option = "--grey" if size is None else "--size"
        raise DatasetError(f"{option} is for a folder of images: --data {source} is {kind.value}")
    if kind is Kind.NPZ:
        return load_npz(path, names)
    if kind is Kind.FUNCTION:
        return call_function(source, names)
    if len(names) > 1:
        raise DatasetError(
            f"--data {source} gives one input, the model has {len(names)} ({', '.join(names)}): "
            "give FILE.npz with an array for each, or module:function"
        )
    if kind is Kind.FOLDER:
        return load_folder(path, shape, seed, size, grey, preprocessing)
    if annotations := annotations_of(path):
        return load_coco(annotations, shape, preprocessing)
    if kind is Kind.NPY:
        return Data(path.stem, Part(read_npy(path)))
    return _dataset(source) if source in DATASETS else _mnist(path)


def load_dataset(
    source: str,
    data_dir: Path | None = None,
    *,
    seed: int = 0,
    divided: bool = False,
    shape: tuple[int, int, int] | None = None,
    size: int | None = None,
    grey: bool = False,
) -> Dataset:
    """Loads and checks labelled images to train and to test on.

    Args:
        source: see the table of this module.
        data_dir: where MNIST's IDX files are, if not in `$TINSMITH_DATA/mnist`.
        seed: divides what its source does not: a fifth is kept for testing.
        divided: refuse what its source does not divide.
        shape: `(H, W, C)` that a folder's images are fitted to; see `folder.load_folder`.
        size: height and width that they are fitted to.
        grey: gives a folder's images one channel.

    Raises:
        DatasetError: there is no such dataset, or it is damaged, or no model could learn from it.
    """
    if divided and kind_of(source) in (
        Kind.COCO,
        Kind.FOLDER,
        Kind.NPY,
    ):  # before all of it is read
        raise DatasetError(f"{source}: expected training and test data, got undivided data")
    if source in DATASETS and size is None and not grey:
        return make_dataset(_dataset(source, data_dir), seed)
    data = read_data(source, shape=shape, seed=seed, size=size, grey=grey)
    return make_dataset(data, seed, divided=divided)


def _dataset(name: str, data_dir: Path | None = None) -> Data:
    """One of `DATASETS`; MNIST's files may lie in `data_dir`."""
    digits = _digits() if name in ("digits", "digit-scenes") else _mnist(data_dir)
    return _scenes(name, digits) if name in ("scenes", "digit-scenes") else digits


def _mnist(folder: Path | None) -> Data:
    found = load_mnist(folder)
    train, test = (Part(found[f"x_{key}"], found[f"y_{key}"]) for key in ("train", "test"))
    return Data("mnist", test, train, _CLASSES)


def _digits() -> Data:
    train, test = (Part(*arrays) for arrays in load_digits())
    return Data("digits", test, train, _CLASSES)


def _scenes(name: str, digits: Data) -> Data:
    """Scenes of the digits to train on, and others of those to test on."""
    parts = (digits.train or digits.test, digits.test)
    train, test = (
        Part(*make_scenes(part.inputs, part.labels, count, seed))
        for seed, (part, count) in enumerate(zip(parts, (_TRAIN_SCENES, _TEST_SCENES), strict=True))
    )
    return Data(name, test, train, _CLASSES)
