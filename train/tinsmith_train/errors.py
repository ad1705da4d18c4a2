"""The errors of the train room; what is wrong with data is `tinsmith_data`'s `DatasetError`.

TinsmithError
├── StoppedError       130  Ctrl-C came before there was anything to keep
└── RunFolderError       1  the results cannot be written
"""

from tinsmith_runtime.errors import TinsmithError


class StoppedError(TinsmithError):
    """Ctrl-C, before the first epoch was over."""

    exit_status = 130


class RunFolderError(TinsmithError):
    """Results that cannot be written where they should go."""
