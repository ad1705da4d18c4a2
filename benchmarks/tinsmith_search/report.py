"""What a search found, as data; `docs/search.schema.json` documents it as JSON.

A report is complete: the terminal and the page are made of it alone.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import optuna

from tinsmith_bench.report_data import Estimate
from tinsmith_search.evidence import Answers, Kept, Paired, compare, estimate, judge
from tinsmith_search.goals import Goals, Metric
from tinsmith_search.history import History, history
from tinsmith_search.importance import Importance, importances
from tinsmith_search.rows import Row
from tinsmith_search.winners import front, winner

# Grows when a field changes its name or meaning, not when one is added.
SCHEMA_VERSION = 1
_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S+(?=@)|(password=)[^&\s'\"]+", re.IGNORECASE)
_ACCURACY = Metric("accuracy")


@dataclass(frozen=True)
class Member:
    """A trial of the front.

    Attributes:
        number: of the trial.
        test_accuracy: on the test set, with its 95 % Wilson interval; `null` where the test set
            was not looked at.
        limits: what its measurements say of each limit.
    """

    number: int
    test_accuracy: Estimate | None
    limits: tuple[Kept, ...]


@dataclass(frozen=True)
class SearchReport:
    """A whole search.

    Attributes:
        tinsmith: the version that searched.
        created: date and time, ISO 8601, UTC.
        study: the name of the study in its storage.
        command: what was typed, without passwords.
        data: what the models were trained and tested on.
        objectives: as they stand in the goals, the most important first.
        limits: likewise.
        validation_samples: on how many samples, held back from training, accuracy was measured
            during the search; `null` if none was.
        test_samples: on how many samples the front was tested at the end; `null` if it was not.
        winner: the number of the trial to take; `null` where none keeps to the limits.
        separated: whether tests or intervals set the winner apart from all others; else it is the
            smallest of those that are not told apart.
        equals: the numbers of those that are not told apart from the best, the winner's too.
        why: why it is the winner, or why there is none.
        front: the trials that are done, keep to the limits, and are not dominated, by what was
            measured during the search.
        paired: every two of them, by their answers on the test set.
        importance: how much each parameter matters to each objective.
        history: how the best got better.
        trials: all, by their numbers.
        notes: what the reader must know besides.
    """

    tinsmith: str
    created: str
    study: str
    command: str
    data: str
    objectives: tuple[str, ...]
    limits: tuple[str, ...]
    validation_samples: int | None
    test_samples: int | None
    winner: int | None
    separated: bool
    equals: tuple[int, ...]
    why: str
    front: tuple[Member, ...]
    paired: tuple[Paired, ...]
    importance: tuple[Importance, ...]
    history: History
    trials: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def row(self, number: int) -> Row:
        """A trial by its number.

        Raises:
            KeyError: there is none.
        """
        return {row.number: row for row in self.trials}[number]

    def to_json(self) -> str:
        """Writes the report as JSON, `schema_version` first."""
        tree = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps(tree, indent=1, allow_nan=False) + "\n"


def make_report(
    study: optuna.Study,
    rows: Sequence[Row],
    goals: Goals,
    answers: Answers,
    *,
    command: str,
    data: str,
    members: Sequence[int] = (),
    validation_samples: int | None = None,
    notes: Sequence[str] = (),
) -> SearchReport:
    """Judges a search.

    Args:
        study: Optuna's.
        rows: of its trials.
        goals: what was searched for.
        answers: of the front's members on the test set; none where it was not looked at.
        command: what was typed; passwords in it are left out.
        data: what the models were trained and tested on.
        members: the numbers of the front, which they stay, whatever came of them in the test. Where
            none are given, who has answers; else the front of the rows.
        validation_samples: on how many samples accuracy was measured during the search.
        notes: what the reader must know besides.
    """
    rows = sorted(map(_finite, rows), key=lambda row: row.number)
    asked = members or answers
    found = [row for row in rows if row.number in asked] or front(rows, goals)
    verdict = winner(found, goals, answers)
    return SearchReport(
        tinsmith=version("tinsmith"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        study=study.study_name,
        command=without_passwords(command),
        data=data,
        objectives=tuple(map(str, goals.objectives)),
        limits=tuple(map(str, goals.limits)),
        validation_samples=validation_samples,
        test_samples=next((len(right) for right in answers.values()), None),
        winner=verdict.row.number if verdict.row else None,
        separated=verdict.separated,
        equals=verdict.equals,
        why=verdict.why,
        front=tuple(
            Member(
                row.number,
                estimate(row, _ACCURACY, answers) if row.number in answers else None,
                tuple(judge(row, limit, answers) for limit in goals.limits),
            )
            for row in found
        ),
        paired=compare(found, answers),
        importance=importances(study.trials, rows, goals),
        history=history(study.trials, rows, goals),
        trials=tuple(rows),
        notes=tuple(notes),
    )


def without_passwords(command: str) -> str:
    """A command as it may be shown: a password in the URL of a storage becomes an ellipsis."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}…", command)


def _finite(row: Row) -> Row:
    """A trial without values that JSON has no number for."""
    return replace(
        row,
        values={name: value for name, value in row.values.items() if math.isfinite(value)},
        intervals={
            name: ends for name, ends in row.intervals.items() if all(map(math.isfinite, ends))
        },
    )
