"""The option `--data` of every sub-command, and the older options that it replaces."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinsmith_data.sources import DATASETS
from tinsmith_runtime.errors import printable

WHAT = (
    "mnist, digits, scenes, digit-scenes, a FOLDER of images, FILE.npz, FILE.npy, FILE.json "
    "(COCO's annotations) or module:function"
)


def add_data(parser: argparse._ActionsContainer, default: str, about: str = "") -> None:
    """Adds `--data`, and the older `--dataset` and `--data-dir`.

    Args:
        parser: of the sub-command, or a group of it.
        default: what is taken without the option, in words.
        about: what the sub-command wants of the data, in words.
    """
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--data", metavar="DATA", help=f"{WHAT}{about}; default: {default}")
    add_older(names, "--dataset")
    add_older(parser, "--data-dir", type=Path)


def add_older(
    parser: argparse._ActionsContainer, option: str, also: str = "", **settings: Any
) -> None:
    """Adds an older option, which goes on working and says what to write.

    Args:
        parser: of the sub-command, or a group of it.
        option: its name.
        also: what is different with `--data`.
        settings: as for `add_argument`.
    """
    parser.add_argument(option, action=_Older, also=also, help=argparse.SUPPRESS, **settings)


def folder_source(folder: Path) -> str:
    """What `--data` calls a folder, which may have the name of a dataset."""
    return f"./{folder}" if str(folder) in DATASETS else str(folder)


class _Older(argparse.Action):
    """Keeps the value, and says on standard error what to write instead."""

    def __init__(self, *words: Any, also: str, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._also = also

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Path | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        name = folder_source(values) if isinstance(values, Path) else str(values)
        said = f"tinsmith: {option_string}: write --data {shlex.quote(name)}{self._also}"
        print(printable(said), file=sys.stderr)
