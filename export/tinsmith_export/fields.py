"""The fields of `Options`, checked in one place, before any work begins."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinsmith_runtime.errors import UsageError
from tinsmith_train.limits import MAX_SEED, is_real, is_whole, require, require_real, require_whole

if TYPE_CHECKING:
    from tinsmith_export.exporting import Options


def check_options(options: "Options") -> None:
    """Checks every field.

    Raises:
        UsageError: one cannot be; the message begins with its name.
    """
    require(options.recipe in ("ptq", "qat"), "recipe", "ptq or qat", options.recipe)
    steps, least = options.qat_steps, 1 if options.recipe == "qat" else 0
    if least and steps == 0:
        raise UsageError("qat_steps: expected 1 or more, got 0: for none, recipe ptq")
    require_whole("qat_steps", steps, least)
    require_real("max_drop_pp", options.max_drop_pp, -100, 100)
    require_whole("seed", options.seed, 0, MAX_SEED)
    require_whole("release", options.release, 0)
    require(
        _is_pixel_range(options.input_range),
        "input_range",
        "two finite numbers, LOW < HIGH, that float32 can tell apart",
        options.input_range,
    )
    require(_are_names(options.keep_float), "keep_float", "names of layers", options.keep_float)
    for name in ("layer_errors", "sensitivity"):
        value = getattr(options, name)
        require(isinstance(value, bool), name, "True or False", value)
    sizes = (1,) if options.input_shape is None else options.input_shape
    fits = isinstance(sizes, tuple | list) and bool(sizes) and all(is_whole(n, 1) for n in sizes)
    require(fits, "input_shape", "sizes of 1 or more", sizes)
    require(
        isinstance(options.output, str | None), "output", "the name of an output", options.output
    )
    require(
        isinstance(options.custom_objects, Mapping) and _are_names(tuple(options.custom_objects)),
        "custom_objects",
        "a dict of names to classes or functions",
        options.custom_objects,
    )


def _is_pixel_range(value: object) -> bool:
    """Whether a value is two numbers that 256 steps of float32 lie between."""
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(map(is_real, value))):
        return False
    low, high = value
    limits = np.finfo(np.float32)
    step = (high - low) / 255
    return bool(limits.tiny <= step <= limits.max / 255 and max(-low, high) <= limits.max)


def _are_names(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) and name for name in value)
