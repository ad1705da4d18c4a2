"""Who has a trial, or had it: kept with the trial in the storage."""

import os
import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinsmith_search.processes import started, this_machine

if TYPE_CHECKING:
    import optuna

OWNER = "tinsmith:owner"


@dataclass(frozen=True)
class Owner:
    """A process that has taken a trial.

    Attributes:
        lease: Different each time; None where the trial has been put back.
        worker: `host:process`, for people.
        machine: A running kernel and its table of processes: within one, `process` is unique.
        process: Its number.
        started: When it began, in clock ticks of its machine: numbers of processes come again.
        attempt: How often the trial has been begun, with this time.
        is_set_aside: Whether the trial failed for a reason that is not its own, and waits for the
            next command.
    """

    lease: str | None
    worker: str
    machine: str
    process: int
    started: str
    attempt: int
    is_set_aside: bool = False

    def has_ended(self) -> bool:
        """Whether this is a process of this machine that does not run any more."""
        return self.machine == this_machine() and started(self.process) != self.started

    def is_process(self, process: int) -> bool:
        """Whether this is a certain process of this machine, and has a trial."""
        mine = self.lease is not None and self.machine == this_machine()
        return mine and self.process == process


def owner_of(trial: "optuna.trial.FrozenTrial") -> Owner | None:
    """Gives who has, or had, a trial."""
    stored: dict[str, Any] | None = trial.system_attrs.get(OWNER)
    return Owner(**stored) if stored else None


def this_process(attempt: int) -> Owner:
    """Makes a new lease for this process."""
    process = os.getpid()
    worker = f"{socket.gethostname()}:{process}"
    return Owner(uuid.uuid4().hex, worker, this_machine(), process, started(process), attempt)
