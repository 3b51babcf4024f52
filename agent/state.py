"""The state folder: the device key, the enrolment, the gateway's authority and the status of the running agent."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent.device_key import DeviceKey
from agent.errors import AgentError
from agent.wire import Enrolment

DEFAULT_FOLDER: Final = Path("/var/lib/sallyport-agent")
RUN_FOLDER: Final = Path("/run/sallyport-agent")
"""Where everybody on the machine may read the status; the state folder is for the agent alone."""
LONGEST_NONCE = 64


class State:
    """One folder of mode 0700. Files are replaced as a whole: a full disk or a power cut leaves the old one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = folder / "device.pem"
        self.enrolment_file = folder / "enrolment.json"
        self._status = (RUN_FOLDER if folder == DEFAULT_FOLDER else folder) / "status.json"
        self._nonce = folder / "nonce"
        self._latest: str | None = None
        self._authority = folder / "authority.pem"

    def prepare(self) -> None:
        """Make the folder. Raises AgentError when that cannot be."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise AgentError(f"{self.folder} cannot be made ({error.strerror}); run this as root") from None

    def key(self) -> DeviceKey:
        """Load the device key. Raises AgentError."""
        return DeviceKey.load(self._key)

    def key_or_new(self) -> DeviceKey:
        """Load the device key, or make it. Raises AgentError."""
        if self._key.is_symlink() or self._key.exists():
            return self.key()
        try:
            return DeviceKey.create(self._key)
        except OSError as error:
            raise AgentError(f"{self._key} cannot be written ({error.strerror})") from None

    def enrolment(self) -> Enrolment:
        """Which gateway this machine belongs to. Raises AgentError when to none."""
        try:
            members = json.loads(self.enrolment_file.read_bytes())
            named = [members[name] for name in ("gateway", "device", "user")]
            if not all(isinstance(value, str) for value in named):
                raise ValueError("a name in it is no text")
            return Enrolment(*named)
        except FileNotFoundError:
            raise AgentError("this machine is not enrolled: run sallyport-agent enrol URL") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AgentError(f"{self.enrolment_file} cannot be read ({error!r}): enrol again") from None

    def keep_enrolment(self, enrolment: Enrolment, authority: Path | None) -> None:
        """Remember the gateway and, when one was named, the authority that its certificate must be of."""
        if authority is not None:
            self._replace(self._authority, authority.read_bytes())  # it may be this very file, at a second login
        else:
            self._authority.unlink(missing_ok=True)
        self._replace(self.enrolment_file, json.dumps(enrolment.to_json(), indent=2).encode())

    def authority(self) -> Path | None:
        """The pinned authority, or None: what the machine trusts counts."""
        return self._authority if self._authority.exists() else None

    def nonce(self) -> str:
        """The nonce of the gateway's last answer, which the next signed message presents; empty before the first."""
        if self._latest is None:
            try:
                self._latest = self._nonce.read_text("ascii").strip()[:LONGEST_NONCE]
            except (FileNotFoundError, UnicodeDecodeError):
                self._latest = ""
            except OSError as error:
                raise AgentError(f"{self._nonce} cannot be read ({error.strerror})") from None
        return self._latest

    def keep_nonce(self, nonce: str) -> None:
        """Keep the nonce, on the disk before it is used: what comes of it must not be repeated after a crash.

        It is written over the old one, which needs no space: a full disk must not end a tunnel.
        """
        self._latest = nonce[:LONGEST_NONCE]
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError), open(os.open(self._nonce, flags, 0o600), "wb", buffering=0) as opened:
            opened.write(self._latest.encode("ascii", "replace").ljust(LONGEST_NONCE) + b"\n")
            os.fdatasync(opened.fileno())

    def keep_status(self, status: Mapping[str, Any]) -> None:
        """Publish the running agent's status. A disk that is full must not end a tunnel, so failure is ignored."""
        with contextlib.suppress(OSError):
            if self._status.parent == RUN_FOLDER:
                RUN_FOLDER.mkdir(mode=0o755, exist_ok=True)
            self._replace(self._status, json.dumps(status, indent=2).encode(), durable=False, mode=0o644)

    def status(self) -> dict[str, Any] | None:
        """What the running agent published last; None when none runs, whatever a killed one has left behind."""
        try:
            members = json.loads(self._status.read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return (
            members if isinstance(members, dict) and (self.running() or self._published_by_another(members)) else None
        )

    def _published_by_another(self, members: Mapping[str, Any]) -> bool:
        """For those who may not look at the lock: whether the process that published still runs."""
        pid = members.get("pid")
        return not os.access(self.folder, os.X_OK) and type(pid) is int and Path(f"/proc/{pid}").exists()

    def running(self) -> bool:
        """Whether an agent holds the lock."""
        try:
            with (self.folder / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only agent that runs on this folder. Raises AgentError when another one does."""
        self.prepare()
        with open(os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AgentError(f"another sallyport-agent runs already on {self.folder}") from None
            try:
                yield
            finally:
                self._status.unlink(missing_ok=True)

    def _replace(self, file: Path, content: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
        fresh = file.with_name(file.name + ".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as opened:
            opened.write(content)
            opened.flush()
            if durable:
                os.fsync(opened.fileno())
        fresh.replace(file)
