"""A real ssh server on 127.0.0.1, with keys of its own, for the one user who runs the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile none
Subsystem sftp internal-sftp
SetEnv TMPDIR={far}
"""


class MissingError(Exception):
    """What there must be to start a server."""


@dataclass(frozen=True)
class Server:
    """A running sshd.

    Attributes:
        folder: its keys, its configuration, its log.
        far: where those who log in make their temporary files.
        port: on 127.0.0.1.
        process: the listening sshd.
    """

    folder: Path
    far: Path
    port: int
    process: subprocess.Popen[bytes]

    def words(self, **changes: str) -> list[str]:
        """What a client types to log in, with nothing of the user's own configuration."""
        options = {
            "Port": str(self.port),
            "User": getpass.getuser(),
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "IdentityFile": str(self.folder / "key"),
            "BatchMode": "yes",
        } | changes
        pairs = (("--ssh-option", f"{key}={value}") for key, value in options.items())
        return [word for pair in pairs for word in pair]

    def agents(self) -> dict[int, str]:
        """What runs on the far side: command lines of processes with its `TMPDIR`, by pid."""
        mark, found = f"TMPDIR={self.far}".encode(), {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(process.name)] = words.decode()
            except OSError:  # it ended meanwhile, or is another user's
                continue
        return found

    def require_clean(self) -> None:
        """Nothing runs and nothing lies on the far side, at the latest after 20 seconds."""
        end = time.monotonic() + 20
        while (left := [*self.agents().values(), *self.far.iterdir()]) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left

    def sessions(self) -> list[int]:
        """The processes that each serve one connection."""
        return children(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def make_key(path: Path) -> str:
    """Makes a key pair without a password; gives the public half."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(words, check=True)
    return path.with_suffix(".pub").read_text()


def start(folder: Path, *, far_bytes: int | None = None, file_bytes: int | None = None) -> Server:
    """Starts a server.

    Args:
        folder: an empty one.
        far_bytes: the size of the far side's disk; as large as this machine's if `None`.
        file_bytes: the size of the largest file that the far side can write.

    Raises:
        MissingError: sshd is not installed, or a small disk needs rights that this user has not.
    """
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not (sshd and shutil.which("ssh") and shutil.which("scp")):
        raise MissingError("sshd, ssh and scp: apt install openssh-server openssh-client")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd does not start without
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    far = folder / "far"
    far.mkdir()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {make_key(folder / 'host')}")
    make_key(folder / "key")
    (folder / "sshd_config").write_text(CONFIGURATION.format(port=port, folder=folder, far=far))
    words = [sshd, "-D", "-E", str(folder / "log"), "-f", str(folder / "sshd_config")]
    if file_bytes is not None:
        words = ["prlimit", f"--fsize={file_bytes}", *words]
    if far_bytes is not None:
        # In a mount namespace of its own, so that the disk is gone when the server is.
        script = f'mount -t tmpfs -o size={far_bytes} none "$0" && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", script, str(far), *words]
        if subprocess.run([*words[:5], str(far), "true"], capture_output=True).returncode:
            raise MissingError("the right to mount a small disk: run the tests as root")
    process = subprocess.Popen(words)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return Server(folder, far, port, process)
        time.sleep(0.05)
    process.kill()
    log = folder / "log"
    raise AssertionError(f"sshd did not start: {log.read_text() if log.exists() else 'no log'}")
