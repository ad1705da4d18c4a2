"""The benchmarks load a dataset on a board where nothing but numpy is installed."""

import subprocess
import sys

import pytest

HEAVY = {"PIL", "keras", "matplotlib", "rich", "scipy", "sklearn", "tensorflow"}


@pytest.mark.parametrize("room", ["tinsmith_data", "tinsmith_train"])
def test_importing_the_room_takes_numpy_alone(room: str) -> None:
    code = f"import sys, {room}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not HEAVY & loaded


def test_exported_names() -> None:
    import tinsmith_data
    import tinsmith_train

    assert tinsmith_data.__all__ == ["Dataset", "DatasetError", "load_dataset"]
    assert all(
        getattr(tinsmith_train, name) is getattr(tinsmith_data, name)
        for name in tinsmith_data.__all__
    )

    assert tinsmith_train.__all__ == [
        "Dataset",
        "DatasetError",
        "Epoch",
        "Network",
        "Progress",
        "RunFolderError",
        "StoppedError",
        "TrainResult",
        "load_dataset",
        "load_network",
        "train",
    ]
    assert all(hasattr(tinsmith_train, name) for name in tinsmith_train.__all__)
