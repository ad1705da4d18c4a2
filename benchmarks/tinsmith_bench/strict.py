"""Reads JSON that is not trusted: one value a key, finite numbers, limited depth."""

import json
from typing import Any

# JavaScript, and every JSON reader that keeps numbers as doubles, is exact up to here.
_LARGEST = 2**53


def read_strict(text: str | bytes) -> Any:
    """Does what `json.loads` does, and refuses what JSON leaves open.

    Raises:
        ValueError: it is not JSON, a key stands twice in an object, a number is not finite or a
            whole one beyond 2^53, or lists lie too deep in each other.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_int=_whole_number
        )
    except RecursionError as error:
        raise ValueError("lists or objects lie too deep in each other") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} stands twice in an object")
    return found


def _refuse(word: str) -> Any:
    raise ValueError(f"expected a finite number, got {word}")


def _whole_number(digits: str) -> int:
    if len(digits) > 17 or abs(number := int(digits)) > _LARGEST:
        raise ValueError(f"expected whole numbers up to 2^53, got {digits[:20]}")
    return number
