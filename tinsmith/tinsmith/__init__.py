"""All of tinsmith by one name; each function has the name of its sub-command.

```python
import tinsmith

data = tinsmith.load_dataset("mnist")
tinsmith.train("cnn", data, Path("runs/cnn"))
tinsmith.export(Path("runs/cnn/model.keras"), data, Path("digits.tin"))
print(tinsmith.load("digits.tin").classify(data.x_test[0]))
```

The import takes nothing but this file: a name brings its package when it is first used. On a board
there is `tinsmith_runtime` alone, which has `load` and what else runs a bundle.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinsmith.initial import init
    from tinsmith.predicting import Answer, run
    from tinsmith.shells import completion
    from tinsmith_bench import Options as BenchOptions
    from tinsmith_bench import Report, bench, compare, read_report
    from tinsmith_data import Dataset, DatasetError, load_dataset
    from tinsmith_export import Exported, GateError, check, compile_model, export, sensitivity
    from tinsmith_export import Options as ExportOptions
    from tinsmith_runtime import (
        BackendError,
        BundleError,
        Detection,
        InputError,
        Manifest,
        Model,
        Prediction,
        TinsmithError,
        UsageError,
        inspect,
        installed_backends,
        load,
        selftest,
    )
    from tinsmith_runtime.bundle.signature import generate_key as keygen
    from tinsmith_runtime.bundle.signature import sign_bundle as sign
    from tinsmith_runtime.bundle.signature import verify_bundle as verify
    from tinsmith_runtime.deploy.install import install, rollback
    from tinsmith_runtime.deploy.trial import boot, confirm
    from tinsmith_runtime.doctor import Finding, doctor
    from tinsmith_runtime.serve import ServeOptions, serve
    from tinsmith_search.api import Searched, search
    from tinsmith_train import TrainResult, train
    from tinsmith_train.demo import demo

__all__ = [
    "Answer",
    "BackendError",
    "BenchOptions",
    "BundleError",
    "Dataset",
    "DatasetError",
    "Detection",
    "ExportOptions",
    "Exported",
    "Finding",
    "GateError",
    "InputError",
    "Manifest",
    "Model",
    "Prediction",
    "Report",
    "Searched",
    "ServeOptions",
    "TinsmithError",
    "TrainResult",
    "UsageError",
    "bench",
    "boot",
    "check",
    "compare",
    "compile_model",
    "completion",
    "confirm",
    "demo",
    "doctor",
    "export",
    "init",
    "inspect",
    "install",
    "installed_backends",
    "keygen",
    "load",
    "load_dataset",
    "read_report",
    "rollback",
    "run",
    "search",
    "selftest",
    "sensitivity",
    "serve",
    "sign",
    "train",
    "verify",
]

# Where a name lies: what type checkers read above, for Python. A name alone keeps its own.
_NAMES = {
    "tinsmith.initial": ("init",),
    "tinsmith.predicting": ("Answer", "run"),
    "tinsmith.shells": ("completion",),
    "tinsmith_bench": ("BenchOptions=Options", "Report", "bench", "compare", "read_report"),
    "tinsmith_data": ("Dataset", "DatasetError", "load_dataset"),
    "tinsmith_export": (
        "ExportOptions=Options",
        "Exported",
        "GateError",
        "check",
        "compile_model",
        "export",
        "sensitivity",
    ),
    "tinsmith_runtime": (
        "BackendError",
        "BundleError",
        "Detection",
        "InputError",
        "Manifest",
        "Model",
        "Prediction",
        "TinsmithError",
        "UsageError",
        "inspect",
        "installed_backends",
        "load",
        "selftest",
    ),
    "tinsmith_runtime.bundle.signature": (
        "keygen=generate_key",
        "sign=sign_bundle",
        "verify=verify_bundle",
    ),
    "tinsmith_runtime.deploy.install": ("install", "rollback"),
    "tinsmith_runtime.deploy.trial": ("boot", "confirm"),
    "tinsmith_runtime.doctor": ("Finding", "doctor"),
    "tinsmith_runtime.serve": ("ServeOptions", "serve"),
    "tinsmith_search.api": ("Searched", "search"),
    "tinsmith_train": ("TrainResult", "train"),
    "tinsmith_train.demo": ("demo",),
}
_PLACES = {
    name: (module, its or name)
    for module, names in _NAMES.items()
    for name, _, its in (entry.partition("=") for entry in names)
}


def __dir__() -> list[str]:
    return [*globals(), *__all__]


if not TYPE_CHECKING:  # else every name would be there for type checkers

    def __getattr__(name: str) -> Any:
        """Brings a name from its package: Python asks once for each."""
        if name not in _PLACES:
            raise AttributeError(f"module 'tinsmith' has no attribute {name!r}")
        module, its = _PLACES[name]
        value = globals()[name] = getattr(import_module(module), its)
        return value
