"""What `tinsmith doctor` says of data: which datasets need no network."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tinsmith_data.mnist import holds_mnist, keras_cache
from tinsmith_runtime.doctor import MISSING, OK, Finding


def datasets_at_hand() -> Iterator[Finding]:
    """Looks where `load_dataset` does; reads nothing."""
    root = os.environ.get("TINSMITH_DATA")
    named = Path(root, "mnist") if root else None
    if named and named.is_dir() and holds_mnist(named):
        yield Finding("data mnist", OK, str(named))
    elif keras_cache().is_file():
        yield Finding("data mnist", OK, str(keras_cache()))
    else:
        place = f"not in {named}" if named else "$TINSMITH_DATA is not set"
        text = f"{place}, nor in Keras's cache: it is downloaded when it is first used"
        yield Finding("data mnist", MISSING, text, "export TINSMITH_DATA=FOLDER  # of FOLDER/mnist")
    if find_spec("sklearn"):
        yield Finding("data digits", OK, "comes with scikit-learn")
    else:
        cure = "pip install 'tinsmith[compile]'"
        yield Finding("data digits", MISSING, "scikit-learn is not installed", cure)
