"""Where data comes from, for training, export and benchmarks; importing it takes numpy alone."""

from tinsmith_data.dataset import Dataset, load_dataset
from tinsmith_data.errors import DatasetError

__all__ = ["Dataset", "DatasetError", "load_dataset"]
