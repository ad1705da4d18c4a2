"""`space.toml`: which networks, trainings and exports a search may choose from, and for what goals.

A value is a constant, a list of choices, or a range `{low, high, step, log}`. `widths`, `kernels`,
`strides` and `pools` are chosen for each block by itself; a choice that is a list is for all blocks
at once, one value a block.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.cli.settings import read_toml, unknown
from tinsmith_search.errors import SearchError
from tinsmith_search.goals import Goals, parse_goals
from tinsmith_search.values import Kind, Value, choose, parse_value

if TYPE_CHECKING:
    import optuna

FAMILIES = ("cnn", "mobilenet", "resnet", "dscnn")
BLOCKS = ("widths", "kernels", "strides", "pools")
"""What each block of a network has of its own."""
EPOCHS = 18
"""Of a training, where the space says nothing."""
_DEFAULTS: Mapping[str, Any] = {"kernels": 3, "strides": 1, "pools": 1}

_MODEL = {
    "family": Kind(str, choices=FAMILIES),
    "function": Kind(str),
    "depth": Kind(int, 1, 64),
    "widths": Kind(int, 1, 4096),
    "kernels": Kind(int, 1, 31),
    "strides": Kind(int, 1, 8),
    "pools": Kind(int, 1, 8),
    "padding": Kind(str, choices=("same", "valid")),
    "head": Kind(str, choices=("flatten", "mean")),
    "size": Kind(int, 8, 1024),
}
_TRAIN = {
    "epochs": Kind(int, 1, 100_000),
    "batch-size": Kind(int, 1, 65_536),
    "learning-rate": Kind(float, 1e-6, 10.0),
    "warm-up": Kind(float, 0.0, 1.0),
    "augment": Kind(str, choices=("auto", "none", "shifts", "photos")),
    "held-back": Kind(float, 0.01, 0.5, constant=True),
}
_EXPORT = {
    "recipe": Kind(str, choices=("auto", "ptq", "calibrated", "qat")),
    "qat-steps": Kind(int, 1, 100_000),
    "weight-bits": Kind(int, 7, 8),
    "max-drop-pp": Kind(float, -100.0, 100.0, constant=True),
    "budget": Kind(float, 0.0, 1e9, constant=True),
}
_STAGES = {
    "eta": Kind(float, 1.0, 100.0, constant=True),
    "short-epochs": Kind(int, 1, 100_000),
}
_TABLES: Mapping[str, Mapping[str, Kind]] = {
    "model": _MODEL,
    "train": _TRAIN,
    "export": _EXPORT,
    "stages": _STAGES,
}
_GOALS = {
    "objectives": "lines such as `maximize accuracy`",
    "limits": "lines such as `size_bytes <= 50000`",
}


@dataclass(frozen=True)
class Choice:
    """What a trial is made of, nothing left open.

    Attributes:
        model: the architecture: `family` and what belongs to it; `function` alone for one's own.
        epochs: of the whole training.
        train: the other arguments of `tinsmith_train.train`.
        export: fields of `tinsmith_export.Options`.
    """

    model: Mapping[str, Any]
    epochs: int
    train: Mapping[str, Any]
    export: Mapping[str, Any]

    @property
    def size(self) -> int | None:
        """Height and width of the images; `None` for their own."""
        return self.model.get("size")


@dataclass(frozen=True)
class Space:
    """What a search chooses from, and for what.

    Attributes:
        model: the keys of `[model]` and their values.
        train: likewise.
        export: likewise.
        goals: of the search.
        held_back: the part of the training images that trials are judged by, 0 to 1.
        eta: of the trials that reach a stage, about one of so many goes on.
        short_epochs: of each short training, from which the better part goes on; a sixth of the
            epochs if empty.
    """

    model: Mapping[str, Value]
    train: Mapping[str, Value]
    export: Mapping[str, Value]
    goals: Goals
    held_back: float = 0.1
    eta: float = 3.0
    short_epochs: tuple[int, ...] = ()

    def choose(self, trial: "optuna.Trial") -> Choice:
        """Has a trial choose; `model.widths.1` for example is the name of a parameter."""
        train, export = (
            {key.replace("-", "_"): choose(trial, f"{table}.{key}", value) for key, value in keys}
            for table, keys in (("train", self.train.items()), ("export", self.export.items()))
        )
        epochs = train.pop("epochs", EPOCHS)
        return Choice(self._model(trial), epochs, train, export)

    def _model(self, trial: "optuna.Trial") -> dict[str, Any]:
        found = {
            key: choose(trial, f"model.{key}", value)
            for key, value in self.model.items()
            if key not in BLOCKS
        }
        if "function" in found:
            return found
        depth = found.pop("depth")
        for key in BLOCKS:
            value = self.model[key]
            if value.of_all_blocks:
                whole = choose(trial, f"model.{key}", value)
                found[key] = [whole[min(number, len(whole) - 1)] for number in range(depth)]
            else:
                names = [f"model.{key}.{number}" for number in range(1, depth + 1)]
                found[key] = [choose(trial, name, value) for name in names]
        return found

    def describe(self) -> str:
        """All of it as canonical JSON: what a study was begun with."""
        tables = {
            name: {key: value.describe() for key, value in getattr(self, name).items()}
            for name in ("model", "train", "export")
        }
        rest = {name: getattr(self, name) for name in ("held_back", "eta", "short_epochs")}
        return json.dumps({**tables, **rest, "goals": str(self.goals)}, sort_keys=True)


def read_space(path: Path) -> Space:
    """Reads a `space.toml`.

    Raises:
        UsageError: it cannot be read.
        SearchError: it says what cannot be; the message gives the table and the key.
    """
    try:
        return parse_space(read_toml(path))
    except SearchError as error:
        raise SearchError(f"{path}: {error}") from error


def parse_space(tables: Mapping[str, Any]) -> Space:
    """Makes a space of parsed TOML; what is raised is that of `read_space`."""
    for name, table in tables.items():
        if name not in (*_TABLES, "goals"):
            raise SearchError(unknown("table", name, [*_TABLES, "goals"]))
        if not isinstance(table, dict):
            raise SearchError(f"[{name}]: expected a table, got {table!r:.60}")
    found = {name: _table(name, tables.get(name, {})) for name in _TABLES}
    model, train, export = _checked_model(found["model"]), found["train"], found["export"]
    constants = {
        name: table.pop(key).only
        for name, table, key in (
            ("held_back", train, "held-back"),
            ("eta", found["stages"], "eta"),
        )
        if key in table
    }
    if "short-epochs" in found["stages"]:
        constants["short_epochs"] = _short_epochs(found["stages"]["short-epochs"])
    if "budget" in export:
        export["budget-s"] = export.pop("budget")
    return Space(model, train, export, _goals(tables.get("goals", {})), **constants)


def _table(name: str, table: Mapping[str, object]) -> dict[str, Value]:
    kinds, found = _TABLES[name], {}
    for key, value in table.items():
        if key not in kinds:
            raise SearchError(f"[{name}] {unknown('key', key, list(kinds))}")
        try:
            found[key] = parse_value(value, kinds[key], whole=key in BLOCKS)
        except SearchError as error:
            raise SearchError(f"[{name}] {key}: {error}") from error
    return found


def _checked_model(model: dict[str, Value]) -> dict[str, Value]:
    if ("family" in model) == ("function" in model):
        raise SearchError("[model]: expected family or function, one of them")
    if "function" in model:
        others = [key for key in model if key not in ("function", "size")]
        if others:
            raise SearchError(f"[model] {others[0]}: a function of your own chooses for itself")
        model["function"].require_constant("[model] function", "module:function")
        return model
    for key in ("depth", "widths"):
        if key not in model:
            raise SearchError(f"[model] {key}: missing: say one number, a list or a range")
    return {key: parse_value(one, _MODEL[key]) for key, one in _DEFAULTS.items()} | model


def _short_epochs(value: Value) -> tuple[int, ...]:
    if value.is_range or list(value.choices) != sorted(value.choices):
        raise SearchError(
            "[stages] short-epochs: expected a number, or a list of them, the smallest first"
        )
    return value.choices


def _goals(table: Mapping[str, Any]) -> Goals:
    lines: list[str] = []
    for key, value in table.items():
        if key not in _GOALS:
            raise SearchError(f"[goals] {unknown('key', key, _GOALS)}")
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise SearchError(f"[goals] {key}: expected a list of lines, got {value!r:.60}")
        for line in value:
            if (key == "limits") != any(sign in line for sign in "<>="):
                raise SearchError(f"[goals] {key}: expected {_GOALS[key]}, got `{line}`")
        lines += value
    return parse_goals(lines)
