"""`init`: the first `tinsmith.toml`, out of three answers."""

import os
from pathlib import Path

from tinsmith_bench.remote.host import Host
from tinsmith_data.sources import kind_of
from tinsmith_runtime.cli.settings import FILE
from tinsmith_runtime.cli.toml import toml_text
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import write_whole
from tinsmith_train.recipe import RECIPES

_HEAD = """\
# Settings of tinsmith: each sub-command reads the table of its name, and what is typed wins.
# Every option can stand here, without its dashes: see `tinsmith train --help`.

"""


def init(
    path: str | Path = FILE, *, data: str = "mnist", model: str = "cnn", host: str = ""
) -> Path:
    """Writes the settings with which `train`, `export` and `bench` work on one model.

    Args:
        path: the file.
        data: what to train, calibrate and test on, as `--data`.
        model: of those that `tinsmith train` knows; or a Keras model that is trained already.
        host: a board to measure on, as `--host`; on this machine if empty.

    Returns:
        `path`.

    Raises:
        UsageError: the file exists already, which is never overwritten, or an answer cannot be.
        TinsmithError: it cannot be written.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise UsageError(f"{path}: it exists already: change it, or name another with --out FILE")
    check_data(data)
    check_model(model)
    check_host(host)
    write_whole(path, (_HEAD + toml_text(_tables(data, model, host))).encode())
    return path


def _tables(data: str, model: str, host: str) -> dict[str, dict[str, object]]:
    trained = model not in RECIPES
    folder = Path("runs") / model
    keras = Path(model) if trained else folder / "model.keras"
    bundle = Path("runs", f"{keras.stem}.tin") if trained else folder / "model.tin"
    train: dict[str, object] = {} if trained else {"model": model, "data": data, "out": str(folder)}
    return {
        "train": train,
        "check": {"model": str(keras)},
        "export": {"model": str(keras), "data": data, "out": str(bundle)},
        "bench": {"bundles": [str(bundle)], "data": data},
        "board": {"host": host} if host else {},
    }


def check_data(text: str) -> None:
    """Raises a `UsageError` if no `--data` can be that."""
    kind_of(text)


def check_model(text: str) -> None:
    """Raises a `UsageError` if it is neither a model's name nor a Keras model that is there."""
    if text not in RECIPES and not Path(text).exists():
        raise UsageError(
            f"{text}: expected {', '.join(RECIPES)}, or the path of a Keras model that is there"
        )


def check_host(text: str) -> None:
    """Raises a `UsageError` if it is no `[USER@]HOST`; empty is right."""
    if text:
        Host(text)
