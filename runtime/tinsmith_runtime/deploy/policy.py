"""What an installed folder asks of the next bundle: whose it is, how old, and whether it failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinsmith_runtime.bundle import Bundle
from tinsmith_runtime.bundle.installation import MAX_KEYS, Installation
from tinsmith_runtime.bundle.signature import public_keys, require_signed
from tinsmith_runtime.errors import BundleError, UsageError


@dataclass(frozen=True)
class Asked:
    """What was asked for one install.

    Attributes:
        trusted_keys: raw public keys as hex digits to their names; none if none were given.
        allow_downgrade: whether an older release is taken.
        allow_failed: whether a bundle that failed its trial here is, or one that failed a gate of
            its export.
    """

    trusted_keys: Mapping[str, str]
    allow_downgrade: bool = False
    allow_failed: bool = False


def given_keys(trusted_keys: Sequence[str | Path | bytes] | None) -> dict[str, str]:
    """Reads the keys that were given, if any."""
    if trusted_keys is None:
        return {}
    keys = public_keys(trusted_keys)
    if len(keys) > MAX_KEYS:
        raise UsageError(f"--trusted-key: expected at most {MAX_KEYS} keys, got {len(keys)}")
    return keys


def require_trusted(
    path: str | Path, bundle: Bundle, record: Installation | None, given: Mapping[str, str]
) -> tuple[str, ...]:
    """Refuses a bundle that is not signed by a remembered key, and by one of the given ones.

    Returns:
        The keys to remember from now on: the given ones, if there are any.

    Raises:
        BundleError: it is not.
        UsageError: cryptography is not installed.
    """
    remembered = record.trusted_keys if record else ()
    if remembered:
        names = {key: f"a key that the folder trusts, {key[:12]}..." for key in remembered}
        require_signed(path, bundle, names)
    if given:
        require_signed(path, bundle, given)
    return tuple(given) or remembered


def require_wanted(
    path: str | Path, bundle: Bundle, digest: str, record: Installation | None, asked: Asked
) -> None:
    """Refuses a bundle that failed a gate or its trial, or of an older release.

    Never the current one.

    Raises:
        BundleError: it is one of these, and nobody allowed it.
    """
    if record is not None and digest == record.current:
        return
    if (failures := bundle.manifest.failures) and not asked.allow_failed:
        raise BundleError(
            f"{path}: expected a bundle that met its gates, this one failed: {failures[0]}: "
            "export another, or give --allow-failed"
        )
    if record is None:
        return
    if digest in record.failed and not asked.allow_failed:
        raise BundleError(
            f"{path}: failed its trial in this folder: export another, or give --allow-failed"
        )
    release = bundle.manifest.release
    if release < record.release and not asked.allow_downgrade:
        raise BundleError(
            f"{path}: expected release {record.release} or later, got {release}: "
            "export it with --release, or give --allow-downgrade"
        )
