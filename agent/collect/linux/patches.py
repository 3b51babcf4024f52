"""Updates that wait, when their lists were renewed, when something was last installed, and what needs a restart.

A package manager takes seconds to answer, so its answer is kept for as long as none of the files that it depends on has changed.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from agent.collect.linux import device, restart
from agent.collect.linux.packages import Manager, marks, newest
from agent.collect.linux.packages.apk import APK
from agent.collect.linux.packages.apt import APT
from agent.collect.linux.packages.dnf import DNF_MANAGER
from agent.collect.linux.packages.pacman import PACMAN
from agent.collect.linux.packages.zypper import ZYPPER_MANAGER
from agent.collect.reading import ENVIRONMENT, Unreadable, absent, attempt, file, stated, texts
from agent.wire import Fact

FACTS: Final = (
    "patches.pending",
    "patches.security_pending",
    "patches.lists_updated_at",
    "patches.installed_at",
    "patches.reboot_required",
    "patches.services_to_restart",
    "patches.automatic",
)
MANAGERS: Final = (APT, ZYPPER_MANAGER, DNF_MANAGER, PACMAN, APK)
"""openSUSE may have dnf installed as well: who is first in this list is the distribution's own."""
T = TypeVar("T")


class Remembered:
    """Answers, each with what it depended on."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Hashable, Any]] = {}
        self._lock = threading.Lock()

    def get(self, name: str, depends_on: Hashable, ask: Callable[[], T]) -> T:
        """Give the answer from before if it depended on the same, or ask. A question that failed is asked again."""
        with self._lock:
            known = self._known.get(name)
        if known is not None and known[0] == depends_on:
            answer: T = known[1]
            return answer
        answer = ask()
        with self._lock:
            self._known[name] = (depends_on, answer)
        return answer


_remembered = Remembered()


def quick(*, now: float) -> dict[str, Fact]:
    """When packages last changed: what can be said at once, long before the package manager has counted. Raises Unreadable."""
    return _times(_manager(), now)


def _manager() -> Manager:
    manager = next((each for each in MANAGERS if shutil.which(each.program, path=ENVIRONMENT["PATH"])), None)
    if manager is None:
        raise Unreadable("none of apt, zypper, dnf, pacman, apk is installed")
    return manager


def collect(*, now: float) -> dict[str, Fact]:
    """Ask the package manager that is there. Raises Unreadable when there is none that we know."""
    manager = _manager()
    state = tuple(marks((*manager.lists, *manager.installed, *manager.settings)))
    return {
        **_waiting(manager, state, now),
        **_times(manager, now),
        **_restarts(state, now),
        **_automatic(manager, now),
    }


def _waiting(manager: Manager, state: Hashable, now: float) -> dict[str, Fact]:
    try:
        found = _remembered.get("waiting", state, manager.waiting)
    except Unreadable as error:
        return absent(FACTS[:2], manager.program, now, str(error))
    return stated(found.source, now, patches__pending=found.pending, patches__security_pending=found.security)


def _times(manager: Manager, now: float) -> dict[str, Fact]:
    return {
        **stated(manager.lists[0], now, patches__lists_updated_at=newest(manager.lists)),
        **stated(manager.installed[0], now, patches__installed_at=newest(manager.installed)),
    }


def _restarts(state: Hashable, now: float) -> dict[str, Fact]:
    stale = restart.stale()
    booted = attempt(lambda: device.parse_stat(file("/proc/stat")))
    found = _remembered.get("restarts", (state, stale), lambda: restart.look(stale, booted))
    return stated(
        found.source,
        now,
        patches__reboot_required=found.reboot or any(path.exists() for path in restart.MARKS),
        patches__services_to_restart=texts(found.services),
    )


def _automatic(manager: Manager, now: float) -> dict[str, Fact]:
    try:
        return stated(manager.program, now, patches__automatic=manager.automatic())
    except Unreadable as error:
        return absent(("patches.automatic",), manager.program, now, str(error))
