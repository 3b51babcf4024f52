"""Memory that is not needed any more, given back to the machine (mallopt(3), malloc_trim(3)); glibc keeps it otherwise.

A collection reads outputs of some megabytes now and then, in threads of its own, and each thread would have its own heap.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import Final

_M_ARENA_MAX: Final = -8
_libc = ctypes.CDLL(None)


def share_one_heap() -> None:
    """Have all threads use one heap. For the start, before there is another thread."""
    with contextlib.suppress(AttributeError):  # another C library has no such thing, and does not need it
        _libc.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Collect what nobody refers to, and return what is free."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        _libc.malloc_trim(0)
