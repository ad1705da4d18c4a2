"""The head of a detector, as a user describes it: read, and held to the model."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tinsmith_data.limits import require
from tinsmith_runtime.bundle import BoxHead
from tinsmith_runtime.bundle.box_checks import head_contradictions
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.record import parse_record, read_json

_MAX_BYTES = 1 << 20  # as a manifest, which will hold it


def read_head(path: Path) -> BoxHead:
    """Reads JSON, the same as `boxes` in a manifest; see `docs/reference/detector-head.md`.

    Raises:
        UsageError: there is no such file, or a field is missing, unknown or wrong: by its path.
    """
    try:
        return parse_record(BoxHead, read_json(read_regular(path, _MAX_BYTES).decode()), "boxes")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from error


def checked_head(head: object) -> BoxHead:
    """Checks the fields of a head that was made in Python as those of a file.

    Returns:
        The head that a reader of the bundle will see: 8 has become 8.0.

    Raises:
        UsageError: it is none, or a field is wrong: by its path.
    """
    require(isinstance(head, BoxHead), "boxes", "a BoxHead or None", head)
    assert isinstance(head, BoxHead)
    try:
        return parse_record(BoxHead, json.loads(json.dumps(asdict(head), default=repr)), "boxes")
    except ValueError as error:
        raise UsageError(str(error)) from error


def require_head(
    head: BoxHead, image: tuple[int, ...] | None, outputs: Mapping[str, tuple[int, ...]]
) -> None:
    """Checks that a head describes the outputs of a model.

    Args:
        head: whose fields are right, each by itself.
        image: `(H, W, C)` of the model's one input; `None` if that is no image or not the only one.
        outputs: name to shape, without the batch.

    Raises:
        UsageError: it does not; every contradiction with its path.
    """
    problems = list(head_contradictions(head, image, outputs))
    if problems:
        raise UsageError("; ".join(problems))
