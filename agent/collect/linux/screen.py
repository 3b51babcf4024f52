"""Whether an idle screen locks, for everybody who sits at one: GNOME, Cinnamon and KDE by their settings, else logind.

Who is logged in over the network has no screen here. With nobody at any screen there is nothing but the login prompt, and
that asks for a password. A text console never locks.
"""

from __future__ import annotations

import configparser
import pwd
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.collect.reading import Account, Unreadable, absent, attempt, command, file, stated
from agent.wire import Fact

FACTS: Final = ("screen.lock_enabled", "screen.lock_delay")
SETTINGS: Final = (".config/dconf/user", ".config/kscreenlockerrc")
"""Below a home: what a change of the settings changes."""
KDE_SYSTEM: Final = Path("/etc/xdg/kscreenlockerrc")
KDE_DEFAULTS: Final = {"autolock": "true", "timeout": "5", "lockgrace": "5"}
GSETTINGS: Final = {"gnome": "org.gnome.desktop", "cinnamon": "org.cinnamon.desktop"}
SHELLS: Final = {"gnome-shell": "gnome", "cinnamon": "cinnamon", "plasmashell": "kde", "kwin_wayland": "kde"}
"""Programs that tell the desktop where logind does not name it."""
SHOWN: Final = ("Name", "User", "Type", "Class", "Remote", "State", "Desktop")
_WORD = re.compile(r"(?:uint32 |int32 )?(true|false|\d{1,9})")


@dataclass(frozen=True, slots=True)
class Seated:
    """Somebody at a screen of this machine."""

    name: str
    uid: int
    kind: str
    desktop: str


@dataclass(frozen=True, slots=True)
class Lock:
    """`delay`: seconds from the last key to the lock; None: it never comes."""

    delay: float | None


def collect(*, now: float) -> dict[str, Fact]:
    """Look at every session. Raises Unreadable when one of them cannot be judged: the worst of them counts."""
    people = parse_sessions(_sessions())
    if not people:
        return stated("loginctl: nobody is at a screen", now, screen__lock_enabled=True, screen__lock_delay=0)
    locks = [_lock(person) for person in people]
    delays = [lock.delay for lock in locks if lock.delay is not None]
    source = f"loginctl, {', '.join(sorted({person.desktop or person.kind for person in people}))}"
    if len(delays) < len(locks):
        gone = absent(("screen.lock_delay",), source, now, "there is a screen that does not lock")
        return {**stated(source, now, screen__lock_enabled=False), **gone}
    return stated(source, now, screen__lock_enabled=True, screen__lock_delay=max(delays))


def _sessions() -> str:
    listed = command("loginctl", "list-sessions", "--no-legend", timeout=5.0)
    names = [line.split()[0] for line in listed.split("\n") if line.strip()]
    properties = [f"--property={name}" for name in SHOWN]
    return command("loginctl", "show-session", *names, *properties, timeout=5.0) if names else ""


def parse_sessions(said: str) -> list[Seated]:
    """Read `loginctl show-session`: blocks of Name=value. Raises Unreadable."""
    people = []
    for block in re.split(r"\n\s*\n", said.strip()):
        shown = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
        if not block.strip():
            continue
        if not {"Name", "User", "Type", "Class", "Remote"} <= set(shown) or not shown["User"].isdigit():
            raise Unreadable("loginctl shows sessions in another form")
        seated = shown["Class"].startswith("user") and shown["Remote"] == "no" and shown["Type"] != "unspecified"
        if seated and shown.get("State") != "closing":
            people.append(Seated(shown["Name"], int(shown["User"]), shown["Type"], _desktop(shown.get("Desktop", ""))))
    return people


def _desktop(named: str) -> str:
    """`ubuntu:GNOME`, `gnome-classic`, `KDE`, `plasmawayland` are two desktops."""
    lower = named.lower()
    if "gnome" in lower or lower.startswith(("ubuntu", "pop", "zorin")):
        return "gnome"
    if "kde" in lower or "plasma" in lower:
        return "kde"
    return "cinnamon" if "cinnamon" in lower else lower


def _lock(person: Seated) -> Lock:
    if person.kind == "tty":
        return Lock(None)
    desktop = person.desktop if person.desktop in (*GSETTINGS, "kde") else shell(_programs(person.uid)) or ""
    if desktop in GSETTINGS:
        return _gsettings(_account(person), GSETTINGS[desktop])
    if desktop == "kde":
        return _kde(_account(person))
    said = command("busctl", "get-property", *LOGIND, "IdleAction", "IdleActionUSec", timeout=5.0)
    lock = parse_logind(said)
    if lock.delay is None:
        raise Unreadable(f"nobody knows how {person.desktop or 'this desktop'} locks, and logind does not make it")
    return lock


LOGIND: Final = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def shell(programs: Iterable[str]) -> str | None:
    """The desktop that a user's programs belong to."""
    return next((SHELLS[name] for name in sorted(programs) if name in SHELLS), None)


def _programs(uid: int) -> set[str]:
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid == uid:
                found.add((folder / "exe").readlink().name)
        except OSError:
            continue
    return found


def _account(person: Seated) -> Account:
    try:
        entry = pwd.getpwuid(person.uid)
    except KeyError:
        raise Unreadable(f"there is no account of user id {person.uid}") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def _gsettings(account: Account, schema: str) -> Lock:
    def get(part: str, key: str) -> str:
        return command("gsettings", "get", f"{schema}.{part}", key, timeout=3.0, account=account)

    if attempt(lambda: parse_setting(get("lockdown", "disable-lock-screen"))):
        return Lock(None)
    enabled = get("screensaver", "lock-enabled")
    return gsettings_lock(enabled, get("screensaver", "lock-delay"), get("session", "idle-delay"))


def gsettings_lock(enabled: str, delay: str, idle: str) -> Lock:
    """Read `lock-enabled`, `lock-delay` and `idle-delay` (0: never idle). Raises Unreadable."""
    after = parse_setting(idle)
    return Lock(float(after + parse_setting(delay))) if parse_setting(enabled) and after else Lock(None)


def parse_setting(said: str) -> int:
    """Read one value as gsettings prints it, true being 1. Raises Unreadable."""
    word = _WORD.fullmatch(said.strip())
    if word is None:
        raise Unreadable("gsettings gave no number and neither true nor false")
    return {"true": 1, "false": 0}.get(word[1], -1) if word[1].isalpha() else int(word[1])


def _kde(account: Account) -> Lock:
    own = Path(account.home) / ".config" / "kscreenlockerrc"
    texts = [file(path, largest=1 << 20) for path in (KDE_SYSTEM, own) if path.exists()]
    return kde_lock(*texts)


def kde_lock(*files: str) -> Lock:
    """Read kscreenlockerrc, the system's before the user's. Raises Unreadable."""
    settings, fixed = dict(KDE_DEFAULTS), set[str]()
    for said in files:
        for key, value in _daemon(said).items():
            name, _, flag = key.partition("[")
            if name not in fixed:
                settings[name] = value.strip().lower()
            if flag.startswith("$i"):  # immutable: the user's own file has no say
                fixed.add(name)
    if settings["autolock"] not in ("true", "1", "yes", "on"):
        return Lock(None)
    try:
        minutes, grace = float(settings["timeout"]), float(settings["lockgrace"])
    except ValueError:
        raise Unreadable("kscreenlockerrc names no number of minutes") from None
    return Lock(minutes * 60 + grace) if 0 < minutes < 1e6 and 0 <= grace < 1e6 else Lock(None)


def _daemon(said: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    try:
        parser.read_string(said.replace("\0", ""))
    except configparser.Error:
        raise Unreadable("kscreenlockerrc cannot be read") from None
    return dict(parser["Daemon"]) if "Daemon" in parser else {}


def parse_logind(said: str) -> Lock:
    """Read IdleAction and IdleActionUSec as busctl prints them. Raises Unreadable."""
    found = re.fullmatch(r's "([a-z-]*)"\nt (\d{1,20})\n?', said)
    if found is None:
        raise Unreadable("logind gave no idle action")
    return Lock(int(found[2]) / 1e6) if found[1] == "lock" else Lock(None)
