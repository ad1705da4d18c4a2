"""No file that a model comes in runs anything, reads elsewhere or takes more than it holds."""

import re
import sys
from pathlib import Path

import pytest
from hostile_models import MARKER, Hostile, configurations, damaged, folders, runs_unguarded

from tinsmith_export.doors import load_keras
from tinsmith_runtime.errors import TinsmithError

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def refused(path: Path) -> str:
    """The one line that says why a model is not loaded; empty if it is."""
    try:
        load_keras(path)
    except TinsmithError as error:
        return str(error)
    return ""


def test_no_configuration_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    live: dict[str, Path] = {}
    wrong, count = [], 0
    for hostile, path in configurations(tmp_path):
        said = refused(path)
        count += 1
        if not re.search(hostile.said, said) or "\n" in said:
            wrong.append(f"{hostile.library}, {hostile.name}, {path.suffix}: {said or 'loaded'}")
        assert not (tmp_path / MARKER).exists(), hostile.name
        if hostile.live:
            live.setdefault(hostile.name, path)
    assert not wrong, "\n".join(wrong)
    assert count >= 40
    assert "tinsmith_payload" not in sys.modules
    # The same files, and Keras alone: what they carry does run.
    for name in ("writes a file, in a model", "imports for a regularizer"):
        assert runs_unguarded(live[name], tmp_path), name


def test_no_weights_from_elsewhere_and_no_more_than_are_stored(tmp_path: Path) -> None:
    wrong = []
    for build in (damaged, folders):
        for name, path, expected in build(tmp_path / build.__name__):
            said = refused(path)
            if not re.search(expected, said):
                wrong.append(f"{name}, {path.name}: {said or 'loaded'}")
    assert not wrong, "\n".join(wrong)


def test_each_payload_is_marked_once() -> None:
    from hostile_models import CONFIGURATIONS

    names = [(one.library, one.name) for one in CONFIGURATIONS if isinstance(one, Hostile)]
    assert len(names) == len(set(names))
