"""Opens the storage of a search, waits for one that restarts, and reads the rows of its trials."""

import functools
import random
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tinsmith_runtime import TinsmithError, UsageError
from tinsmith_runtime.errors import printable
from tinsmith_search.errors import SearchError
from tinsmith_search.rows import Row

if TYPE_CHECKING:
    import optuna

ROW = "row"
PATIENCE_SECONDS = 600.0
_LONGEST_PAUSE_SECONDS = 5.0
# What PostgreSQL says while it restarts; and what a database says where two make its tables.
_SOON = ("the database system is", "terminating connection", "server closed", "already exists")

Answer = TypeVar("Answer")


class StorageGoneError(SearchError):
    """A storage that answered and does not any more, for longer than one is willing to wait."""


class Outages:
    """How long this process has waited for its storage: time in which nobody could be heard."""

    def __init__(self, name: str, patience_seconds: float) -> None:
        self.name = name
        self.patience_seconds = patience_seconds
        self.seconds = 0.0
        self._counted = 0.0

    def clock(self) -> float:
        """Gives seconds that pass only while the storage answers."""
        return time.monotonic() - self.seconds

    def waited(self, call: Callable[[], Answer]) -> Answer:
        """Calls, again and again where the storage does not answer.

        Raises:
            StorageGoneError: it has not answered within the patience.
        """
        start, pause = time.monotonic(), 0.1
        while True:
            try:
                answer = call()
            except Exception as error:
                lost = _outage(error)
                if lost is None:
                    raise
                if time.monotonic() - start > self.patience_seconds:
                    what = f"expected an answer of the storage {self.name} within"
                    do = "start it and give the same command again: nothing is lost"
                    what = f"{what} {self.patience_seconds:g} s, got {lost}; {do}"
                    raise StorageGoneError(what) from None
                if pause == 0.1:
                    _say(f"waits for the storage {self.name}: {lost}")
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                if pause > 0.1:
                    now = time.monotonic()
                    # Two threads may have waited through the same outage.
                    self.seconds += max(0.0, now - max(start, self._counted))
                    self._counted = now
                    _say(f"the storage is back after {now - start:.1f} s")
                return answer


def open_storage(
    url: str | None,
    folder: Path,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    joining: bool = False,
) -> "optuna.storages.BaseStorage":
    """Opens a search's storage, and makes it if it is new.

    What it gives has an attribute `outages`. Its methods wait for a database that restarts. A
    call whose answer was lost on the way is made twice: `leases` is written for that.

    Args:
        url: `postgresql://USER@HOST/DATABASE`, `mysql+pymysql://…`, `sqlite:///FILE`,
            `redis://HOST`, `grpc://HOST:PORT` for Optuna's gRPC proxy, `journal:FILE`; or None,
            for `study.db` in the folder. The password may be left to `PGPASSWORD` or `~/.pgpass`.
        folder: The run folder.
        patience_seconds: How long a method waits before it gives up.
        joining: The storage was open a moment ago, in another process: wait for it now too.

    Raises:
        UsageError: it is no URL of a storage, or its driver is not installed.
        SearchError: the storage refuses, or is not there.
    """
    import optuna
    import sqlalchemy

    url = url or f"sqlite:///{folder / 'study.db'}"
    outages = Outages(_without_password(url), patience_seconds)
    try:
        opened = outages.waited(lambda: _open(url)) if joining else _open(url)
    except TinsmithError:
        raise
    except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
        what = f"--storage {outages.name}: expected an installed driver, got: {error}"
        raise UsageError(f"{what}; install the driver that the URL names") from error
    except Exception as error:
        reason = _outage(error) or error
        what = f"--storage {outages.name}: expected a storage that answers, got: {reason}"
        raise SearchError(f"{what}; look at host, port, user, password and database") from None
    for name in dir(optuna.storages.BaseStorage):
        if not name.startswith("_"):
            setattr(opened, name, _patient(outages, getattr(opened, name)))
    opened.outages = outages  # type: ignore[attr-defined]
    return opened


def close_storage(storage: "optuna.storages.BaseStorage") -> None:
    """Closes what `open_storage` opened: its connections."""
    import optuna

    if isinstance(storage, optuna.storages._CachedStorage):
        storage._backend.engine.dispose()
    elif isinstance(storage, optuna.storages.GrpcStorageProxy):
        storage.close()


def rows_of(study: "optuna.Study") -> list[Row]:
    """Gives one row for each configuration that has begun, in the order of their numbers.

    A configuration is one trial in the storage, however often it was begun, so none comes twice.
    """
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return [newest_row(trial) for trial in trials if trial.state is not TrialState.WAITING]


def newest_row(trial: "optuna.trial.FrozenTrial") -> Row:
    """Gives what is known of a trial."""
    stored = trial.user_attrs.get(ROW)
    if stored is None:
        return Row(trial.number, "running", "", trial.params)
    pairs = {name: tuple(pair) for name, pair in stored["intervals"].items()}
    return Row(**{**stored, "intervals": pairs})


def _open(url: str) -> "optuna.storages.BaseStorage":
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

    kind, _, rest = url.partition(":")
    if kind == "journal":
        return optuna.storages.JournalStorage(JournalFileBackend(rest.removeprefix("//")))
    if kind in ("redis", "rediss"):
        return optuna.storages.JournalStorage(JournalRedisBackend(url))
    if kind == "grpc":
        where = urlsplit(url)
        if where.hostname is None or where.port is None:
            raise UsageError("--storage: expected grpc://HOST:PORT")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            proxy = optuna.storages.GrpcStorageProxy(host=where.hostname, port=where.port)
        proxy.wait_server_ready(timeout=10)
        return proxy
    return optuna.storages._CachedStorage(_open_database(url))


def _open_database(url: str) -> "optuna.storages.RDBStorage":
    """Opens a database. One that is about to answer is asked again."""
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UsageError(
            "--storage: expected the URL of a storage, such as "
            "postgresql://USER@HOST/DATABASE; special characters of a password are written %XX"
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    # A worker has two threads, of which one rarely speaks: it need not hold a connection.
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 4}
    if parsed.drivername == "postgresql+psycopg":
        # A host that vanishes without a word is noticed within half a minute.
        options["connect_args"] = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
    elif parsed.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": 60}
    text = parsed.render_as_string(hide_password=False)
    for left in reversed(range(20)):
        try:
            storage = optuna.storages.RDBStorage(_escaped(text), options)
            break
        except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError) as error:
            said = f"{error} {error.__cause__}"
            if left == 0 or not any(words in said for words in _SOON):
                raise
            time.sleep(random.uniform(0.1, 0.9))
    if parsed.get_backend_name() == "sqlite":
        _lock_before_reading(storage.engine)
    return storage


def _escaped(url: str) -> str:
    """Optuna fills in `{SCHEMA_VERSION}`, and would stumble over a brace of a password."""
    return url.replace("{", "{{").replace("}", "}}")


def _lock_before_reading(engine: Any) -> None:
    """Lets each transaction of SQLite take the write lock at its beginning.

    Optuna reads a trial's state and then writes it. SQLite has no `SELECT … FOR UPDATE`, so two
    processes could both read that a trial waits, and both take it.
    """
    import sqlalchemy

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()


def _patient(outages: Outages, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def waiting(*arguments: Any, **named: Any) -> Any:
        return outages.waited(lambda: method(*arguments, **named))

    return waiting


def _outage(error: BaseException) -> str | None:
    """Says in one line why a storage gave no answer; None if it did answer, with an error."""
    link: BaseException | None = error
    while link is not None:
        if _is_outage(link):
            text = str(getattr(link, "orig", None) or link)
            return " ".join(text.split()[:30]) or type(link).__name__
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return None


def _is_outage(error: BaseException) -> bool:
    from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

    if isinstance(error, OperationalError) and isinstance(error.orig, sqlite3.Error):
        return "locked" in str(error.orig)
    library = type(error).__module__.partition(".")[0]
    if library == "grpc":
        return "StatusCode.UNAVAILABLE" in str(error)
    if library == "redis":
        return type(error).__name__ in ("ConnectionError", "TimeoutError", "BusyLoadingError")
    return isinstance(error, (OperationalError, InterfaceError, PendingRollbackError))


def _without_password(url: str) -> str:
    import sqlalchemy

    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return url.partition(":")[0]


def _say(what: str) -> None:
    print(f"tinsmith search: {printable(what)}", file=sys.stderr, flush=True)
