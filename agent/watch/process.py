"""The end of a process, by pidfd: told the moment it happens, also for processes that are nobody's child."""

from __future__ import annotations

import os
from typing import Final


class ProcessWatch:
    """Readable once the process has ended."""

    concerns: Final = frozenset({"antivirus"})

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when it is gone already."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> bool:
        """It has ended, and goes on having ended."""
        return True

    def close(self) -> None:
        os.close(self._descriptor)
