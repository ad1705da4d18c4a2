"""Types of the manifest's fields, each with the rule that a value must satisfy."""

import math
from typing import Annotated, TypeAlias

from tinsmith_runtime.record import Rule

MAX_TENSORS = 16
"""How many inputs a model may have, and how many outputs."""

_MAX_ELEMENTS = 1 << 26
_MAX_AXES = 8


def one_of(*words: str) -> Rule:
    """The rule of a field that has one of a few values."""
    return Rule(" or ".join(words), words.__contains__)


def few(kind: str) -> Rule:
    """The rule of a short list."""
    return Rule(f"1 to {MAX_TENSORS} {kind}", lambda found: 0 < len(found) <= MAX_TENSORS)


def at_most(count: int, kind: str) -> Rule:
    """The rule of a short list that may be empty."""
    return Rule(f"at most {count} {kind}", lambda found: len(found) <= count)


def _batch_first(shape: tuple[int | None, ...]) -> bool:
    sizes = [size for size in shape[1:] if size is not None and size > 0]
    whole = 0 < len(sizes) == len(shape) - 1 < _MAX_AXES and shape[0] is None
    return whole and math.prod(sizes) <= _MAX_ELEMENTS


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _is_plain(name: str) -> bool:
    """Letters, digits, `.`, `_` and `-`, the first a letter or digit, 100 at most."""
    rest = name.translate(dict.fromkeys(map(ord, "._-")))
    return name[:1].isalnum() and rest.isalnum() and name.isascii() and len(name) <= 100


def _is_word(text: str) -> bool:
    return text.isalnum() and text.isascii() and text.islower() and len(text) <= 20


Byte: TypeAlias = Annotated[int, Rule("0 to 255", lambda byte: 0 <= byte <= 255)]
Count: TypeAlias = Annotated[int, Rule("1 to 2147483647", lambda count: 0 < count < 1 << 31)]
Digest: TypeAlias = Annotated[str, Rule("64 hex digits", _is_digest)]
FileName: TypeAlias = Annotated[str, Rule("a plain file name", _is_plain)]
Release: TypeAlias = Annotated[int, Rule("0 to 2147483647", lambda number: 0 <= number < 1 << 31)]
Scale: TypeAlias = Annotated[float, Rule("a positive number", lambda scale: 0 < scale < 1e30)]
Word: TypeAlias = Annotated[str, Rule("a word of a-z and 0-9", _is_word)]
ZeroPoint: TypeAlias = Annotated[int, Rule("-128 to 127", lambda point: -128 <= point <= 127)]
Shape: TypeAlias = Annotated[
    tuple[int | None, ...], Rule("[null, ...], sizes from 1 after it", _batch_first)
]
