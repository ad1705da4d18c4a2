"""Trains small Keras models; importing it takes numpy alone."""

from tinsmith_data import Dataset, DatasetError, load_dataset
from tinsmith_train.errors import RunFolderError, StoppedError
from tinsmith_train.history import Epoch, Progress
from tinsmith_train.pretrained import Network, load_network
from tinsmith_train.runfolder import TrainResult
from tinsmith_train.training import train

__all__ = [
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
