"""What a long-lived process does with its memory once it is warm: agents, gateways, the benchmark of the core."""

from __future__ import annotations

import ctypes
import gc

# New containers between young collections. The default of 700 is reached every few requests, and each time costs more
# than the request; nothing on a bid's path makes reference cycles.
GC_THRESHOLD = 20_000


def settle() -> None:
    """Collect what starting has left, give it back to the system, and spare later collections what lives on."""
    gc.collect()
    trim()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


_M_ARENA_MAX = -8  # <malloc.h>


def few_arenas() -> None:
    """Let the C library's threads share two heaps instead of up to eight a core. Ray starts many threads, and each heap
    keeps free memory of its own. To be called first, since it holds for heaps to come; nothing where that is not glibc.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_ARENA_MAX, 2)


def trim() -> None:
    """Give free memory at the C library's hands back to the system; nothing where that is not glibc."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
