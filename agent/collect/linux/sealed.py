"""Runs a program of a custom fact, exactly as it was hashed.

The content is copied into memory that nobody can change any more (memfd_create(2), sealed) and run from there: between the
hash and the start no file can be exchanged. It runs as an ordinary user, with nothing of our environment.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
from typing import Any, Final

from agent.collect.local import Custom
from agent.collect.reading import ENVIRONMENT, Unreadable

SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def run(custom: Custom, data: bytes) -> bytes:
    """Run it to its end and give what it says. Raises Unreadable."""
    descriptor = _sealed(data)
    try:
        done = subprocess.run(
            [f"/proc/self/fd/{descriptor}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            timeout=custom.timeout,
            check=False,
            pass_fds=(descriptor,),
            **_account(custom.user),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unreadable(f"{custom.path}: {error}"[:200]) from None
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        raise Unreadable(f"{custom.path} ended with status {done.returncode}")
    answer: bytes = done.stdout
    return answer


def _sealed(data: bytes) -> int:
    descriptor = os.memfd_create("custom-fact", os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as opened:
        opened.write(data)
    os.fchmod(descriptor, 0o555)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    return descriptor


def _account(name: str) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Unreadable(f"there is no user {name!r} to run it as") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
