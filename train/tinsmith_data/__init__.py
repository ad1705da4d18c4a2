"""Reads data for training, export and benchmarks; importing it takes numpy alone."""

from tinsmith_data.dataset import Dataset
from tinsmith_data.errors import DatasetError
from tinsmith_data.sources import load_dataset

__all__ = ["Dataset", "DatasetError", "load_dataset"]
