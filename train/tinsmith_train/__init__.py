"""Datasets and training; importing it takes numpy alone."""

from tinsmith_train.dataset import Dataset, load_dataset
from tinsmith_train.errors import DatasetError, RunFolderError, StoppedError
from tinsmith_train.logbook import Epoch, Progress
from tinsmith_train.runfolder import TrainResult
from tinsmith_train.training import train

__all__ = [
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
