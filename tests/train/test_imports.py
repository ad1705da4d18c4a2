"""The benchmarks load a dataset on a board where nothing but numpy is installed."""

import subprocess
import sys

HEAVY = {"PIL", "keras", "matplotlib", "rich", "scipy", "sklearn", "tensorflow"}


def test_importing_the_room_takes_numpy_alone() -> None:
    code = "import sys, tinsmith_train; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not HEAVY & loaded


def test_exported_names() -> None:
    import tinsmith_train

    assert tinsmith_train.__all__ == [
        "Dataset",
        "DatasetError",
        "Epoch",
        "Progress",
        "RunFolderError",
        "StoppedError",
        "TrainResult",
        "load_dataset",
        "train",
    ]
    assert all(hasattr(tinsmith_train, name) for name in tinsmith_train.__all__)
