"""`module:NAME`: what a user's own module sees, and what it leaves behind."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tinsmith_data import load_dataset
from tinsmith_data.named import current_folder, import_named
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import UsageError

IMAGES = """
import numpy as np

def images():
    import helper_of_theirs
    print("loading")
    x, y = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1])
    return (x + helper_of_theirs.LIGHT, y), (x, y)
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the command is typed in, which is on no path."""
    monkeypatch.chdir(tmp_path)
    elsewhere = [path for path in sys.path if path not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", elsewhere)
    yield tmp_path
    # Not a copy of `sys.modules` put back: what Keras imports meanwhile must stay imported.
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def test_later_imports_look_where_they_did(theirs: Path) -> None:
    (theirs / "images_of_theirs.py").write_text(IMAGES)
    (theirs / "helper_of_theirs.py").write_text("LIGHT = 7")
    (theirs / "later.py").write_text("")
    before = list(sys.path)
    assert load_dataset("images_of_theirs:images").x_train.max() == 7
    assert sys.path == before
    with pytest.raises(ModuleNotFoundError):
        import_module("later")


def test_a_path_of_the_modules_own_stays(theirs: Path) -> None:
    (theirs / "src").mkdir()
    (theirs / "src" / "inner_of_theirs.py").write_text("value = 3")
    lines = (
        f"import sys\nsys.path.insert(0, {str(theirs / 'src')!r})\nfrom inner_of_theirs import *"
    )
    (theirs / "outer_of_theirs.py").write_text(lines)
    before = list(sys.path)
    assert import_named("outer_of_theirs:value") == 3
    assert sys.path == [str(theirs / "src"), *before]


def test_a_module_named_like_one_of_pythons_takes_no_place(theirs: Path) -> None:
    """`colorsys` is one that nobody has imported yet, `json` is one that everybody has."""
    for name in ("json", "colorsys"):
        (theirs / f"{name}.py").write_text("dumps = rgb_to_hsv = value = 3")
        sys.modules.pop("colorsys", None)
        with pytest.raises(
            UsageError, match=rf"`{name}:.*another module {name} .*{name}.py a name"
        ):
            import_named(f"{name}:{'dumps' if name == 'json' else 'rgb_to_hsv'}")
    (theirs / "module_of_theirs.py").write_text(
        "import json, colorsys\nvalue = colorsys.rgb_to_hsv"
    )
    assert callable(import_named("module_of_theirs:value"))
    with current_folder():
        assert json.dumps({}) == "{}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('no disk')", "its module raised RuntimeError: no disk"),
        ("import sys; sys.exit(0)", "its module raised SystemExit: 0"),
        ("def images(): raise SystemExit(0)", "raised SystemExit: 0"),
    ],
)
def test_a_module_that_ends_the_program_ends_nothing(
    text: str, said: str, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (theirs / "ending.py").write_text(text)
    assert main(["train", "--data", "ending:images", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_what_their_function_prints_is_no_result(
    theirs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = "import os\nos.write(1, b'from C++\\n')\n" + IMAGES.replace(
        "\n    import helper", "\n    #"
    )
    lines = lines.replace("helper_of_theirs.LIGHT", "1")
    (theirs / "printing.py").write_text(lines)
    words = ["--data", "printing:images", "--model", "softmax", "--epochs", "1", "--quiet"]
    assert main(["train", *words, "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["dataset"]["name"] == "printing:images"
    assert "from C++" in err
    assert "loading" in err
