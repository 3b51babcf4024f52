"""Other programs as children: started, listened to, waited for, ended. Used by `sallyport up` and `sallyport demo`.

A child dies with its parent, also when the parent is killed: setpriv(1) asks the kernel for that (PR_SET_PDEATHSIG)
and then becomes the program. The kernel watches the *thread* that started the child, so start programs from a thread
that lives as long as they should: the main one.
"""

from __future__ import annotations

import collections
import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Final

from gateway.errors import HostError

REMEMBERED_LINES: Final = 200
GRACE: Final = 5.0
"""Seconds that a program has to end by itself after SIGTERM, before SIGKILL."""


class Program:
    """One child process whose output is kept, line by line."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        inherited: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        orphaned: signal.Signals = signal.SIGKILL,
        listener: Callable[[str, str], None] | None = None,
    ) -> None:
        """Start `command`. `environment` is added to `inherited` (None: this process's own).

        `within` is a prefix such as `ip netns exec`.
        `orphaned` is the signal that the child gets when this process dies; `listener` hears (name, line). Raises
        HostError when the program does not exist.
        """
        self.name = name
        self.lines: collections.deque[str] = collections.deque(maxlen=REMEMBERED_LINES)
        self._changed = threading.Condition()
        self._count = 0
        self._listener = listener
        settings = [f"{key}={value}" for key, value in (environment or {}).items()]
        death = f"--pdeathsig={orphaned.name.removeprefix('SIG')}"
        try:
            self._process = subprocess.Popen(
                ["setpriv", death, "--", *within, "env", *settings, *command],
                env=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone, which ends its children in order
            )
        except FileNotFoundError:
            raise HostError("setpriv(1) is missing: install util-linux") from None
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id; setpriv, ip and env become the program, so it is the program's own."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self._process.poll()

    def mark(self) -> int:
        """How many lines it has said so far: hand it to `wait_for` to hear only later ones."""
        return self._count

    def wait_for(self, pattern: str, *, timeout: float, after: int = 0) -> re.Match[str]:
        """The first line after mark `after` in which `pattern` is found.

        Raises HostError with the last lines when the program ends or `timeout` seconds pass before.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for line in self._since(after):
                    if found := re.search(pattern, line):
                        return found
                if self.exit_status() is not None and not self._reader.is_alive():
                    raise HostError(f"{self.name} ended with status {self.exit_status()}:\n{self.tail()}")
                if not (remaining := deadline - time.monotonic()) > 0:
                    raise HostError(f"{self.name} did not say /{pattern}/ within {timeout:.0f} s:\n{self.tail()}")
                self._changed.wait(min(remaining, 0.1))

    def tail(self, count: int = 12) -> str:
        """Its last lines, marked with its name."""
        return "\n".join(f"  {self.name} | {line}" for line in list(self.lines)[-count:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a program that is gone already does not mind."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL. Returns at once."""
        self.signal(signal.SIGKILL)

    def end(self, *, grace: float = GRACE) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Returns when the process is gone."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)  # a grandchild may hold the pipe open: it is not waited for

    def _since(self, count: int) -> Iterable[str]:
        missed = self._count - count
        return list(self.lines)[-missed:] if missed > 0 else []

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                text = line.rstrip("\n")
                with self._changed:
                    self.lines.append(text)
                    self._count += 1
                    self._changed.notify_all()
                if self._listener is not None:
                    self._listener(self.name, text)


def ended(programs: Iterable[Program]) -> Program | None:
    """The first of them that does not run any more."""
    return next((program for program in programs if program.exit_status() is not None), None)
