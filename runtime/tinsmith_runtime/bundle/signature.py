"""Who a bundle comes from: an Ed25519 signature (RFC 8032) over its manifest.

The manifest holds the hash of every file, so its signature, the file `manifest.sig`, covers all of
the bundle. Keys are PEM: PKCS #8 private, SubjectPublicKeyInfo public.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith_runtime.bundle.archive import pack, sha256
from tinsmith_runtime.bundle.container import MANIFEST, SIGNATURE, Bundle, read_bundle
from tinsmith_runtime.errors import BundleError, UsageError
from tinsmith_runtime.files import file_errors, read_regular, write_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

# No other use of the same key can be taken for the signature of a bundle.
_DOMAIN = b"tinsmith-bundle-v1\0"
_MAX_KEY_BYTES = 1 << 16


@dataclass(frozen=True)
class Signer:
    """A key pair: the file that was named, and the sha256 of the raw 32-byte public key."""

    key: str
    key_sha256: str


def generate_key(name: str | Path) -> Signer:
    """Makes a key pair: `NAME.key`, for its owner's eyes alone, and `NAME.pub` to give away.

    Args:
        name: both files' path without the suffix.

    Raises:
        UsageError: one of the files exists (neither is ever overwritten) or cannot be made, or
            cryptography is not installed.
        TinsmithError: the disk refuses; neither file is there.
    """
    with _cryptography():
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    with (
        file_errors(name),
        _new_file(Path(f"{name}.key"), 0o600, private),
        _new_file(Path(f"{name}.pub"), 0o644, public),
    ):
        return _signer(f"{name}.key", key.public_key())


def sign_bundle(path: str | Path, key: str | Path | bytes, out: str | Path | None = None) -> Signer:
    """Signs a bundle, all of which is checked first; an older signature is replaced.

    Args:
        path: a `.tin` file or a folder of the same content.
        key: the private key, as a path or PEM bytes.
        out: the `.tin` file to write; the bundle itself if `None`.

    Raises:
        UsageError: no such bundle, no Ed25519 private key, or cryptography is not installed.
        BundleError: the bundle is damaged.
        TinsmithError: the disk refuses; the bundle is as it was.
    """
    with file_errors(path):
        private = _private_key(key)
        bundle = read_bundle(path)
        signature = private.sign(_DOMAIN + bundle.files[MANIFEST])
        # The file that a link names is signed, and the link stays.
        target = Path(path).resolve() if out is None else Path(out)
        if out is None and target.is_dir():
            if not (target / MANIFEST).is_file():
                raise UsageError(
                    f"{path}: an installed folder: sign the .tin file, install it again"
                )
            write_whole(target / SIGNATURE, signature)
        else:
            unsigned = {name: data for name, data in bundle.files.items() if name != SIGNATURE}
            write_whole(target, pack({**unsigned, SIGNATURE: signature}))
        return _signer(_name(key), private.public_key())


def verify_bundle(path: str | Path, trusted_keys: Sequence[str | Path | bytes]) -> Signer:
    """Checks all of a bundle, and that one of the trusted keys signed it.

    Args:
        path: a `.tin` file or a folder of the same content.
        trusted_keys: public keys, each as a path or PEM bytes.

    Raises:
        UsageError: no such bundle, no keys, a bad key, or cryptography is not installed.
        BundleError: the bundle is damaged, not signed, or not signed by one of these keys.
    """
    return _verify(path, trusted_keys)[1]


def read_trusted(path: str | Path, trusted_keys: Sequence[str | Path | bytes] | None) -> Bundle:
    """Reads a bundle that `verify_bundle` accepts; any where `trusted_keys` is `None`."""
    return read_bundle(path) if trusted_keys is None else _verify(path, trusted_keys)[0]


def public_keys(trusted_keys: Sequence[str | Path | bytes]) -> dict[str, str]:
    """Reads public keys.

    Args:
        trusted_keys: each as a path or PEM bytes.

    Returns:
        The raw 32 bytes of each as hex digits, and what to call it in an error.

    Raises:
        UsageError: no keys, a bad key, or cryptography is not installed.
    """
    if isinstance(trusted_keys, str | bytes | Path) or not trusted_keys:
        raise UsageError(
            f"trusted_keys: expected a list of at least one public key, got {trusted_keys!r}"
        )
    return {_raw(_public_key(key)).hex(): _name(key) for key in trusted_keys}


def require_signed(path: str | Path, bundle: Bundle, keys: Mapping[str, str]) -> Signer:
    """Refuses a bundle that none of these keys signed, and says which one did.

    Args:
        path: of the bundle, for the error.
        bundle: the bundle.
        keys: as `public_keys` gives them.

    Raises:
        UsageError: a key is bad, or cryptography is not installed.
        BundleError: the bundle is not signed, or not by one of these keys.
    """
    names = ", ".join(keys.values())
    if SIGNATURE not in bundle.files:
        raise BundleError(f"{path}: expected it signed by {names}, got no signature")
    with _cryptography():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    for raw, name in keys.items():
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw))
        with contextlib.suppress(InvalidSignature):
            key.verify(bundle.files[SIGNATURE], _DOMAIN + bundle.files[MANIFEST])
            return _signer(name, key)
    raise BundleError(f"{path}: expected it signed by {names}, got a signature that is not theirs")


def _verify(path: str | Path, trusted_keys: Sequence[str | Path | bytes]) -> tuple[Bundle, Signer]:
    keys = public_keys(trusted_keys)
    bundle = read_bundle(path)
    return bundle, require_signed(path, bundle, keys)


@contextlib.contextmanager
def _cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            "signatures need cryptography: pip install 'tinsmith-runtime[sign]'"
        ) from error


@contextlib.contextmanager
def _new_file(path: Path, mode: int, data: bytes) -> Iterator[None]:
    """Writes a file that did not exist; takes it away again if what follows fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise UsageError(f"{path}: exists, and a key is never overwritten") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # what is told is what failed first
            path.unlink()
        raise


def _private_key(key: str | Path | bytes) -> "Ed25519PrivateKey":
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        found = load_pem_private_key(_pem(key), password=None)
        if isinstance(found, Ed25519PrivateKey):
            return found
    raise UsageError(
        f"{_name(key)}: expected an Ed25519 private key without a password, in PEM: "
        "make one with `tinsmith keygen`"
    )


def _public_key(key: str | Path | bytes) -> "Ed25519PublicKey":
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        found = load_pem_public_key(_pem(key))
        if isinstance(found, Ed25519PublicKey):
            return found
    raise UsageError(
        f"{_name(key)}: expected an Ed25519 public key in PEM: "
        "the .pub file that `tinsmith keygen` made"
    )


def _pem(key: str | Path | bytes) -> bytes:
    if isinstance(key, bytes):
        return key
    try:
        return read_regular(key, _MAX_KEY_BYTES)
    except OSError as error:
        raise UsageError(f"{key}: cannot be read: {error.strerror}") from error


def _name(key: str | Path | bytes) -> str:
    return "the key given as bytes" if isinstance(key, bytes) else str(key)


def _signer(name: str, key: "Ed25519PublicKey") -> Signer:
    return Signer(name, sha256(_raw(key)))


def _raw(key: "Ed25519PublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    # `public_bytes_raw` is shorter, but bookworm's cryptography has no such thing.
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
