"""The error of the data room."""

from tinsmith_runtime.errors import InputError


class DatasetError(InputError):
    """Data that cannot be found, is damaged, or is not what it must be; exit status 2."""
