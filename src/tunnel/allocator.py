"""How this process asks the C library for memory."""

from __future__ import annotations

import ctypes

# mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

# Above the 256 KiB buffers that pass through a daemon all the time, and small beside what it may use anyway.
KEPT = 8 * 1024 * 1024


def keep_buffers() -> bool:
    """Have freed memory of up to 8 MiB kept for the next buffer instead of given back to the system each time.

    Every read of a fast connection fills a buffer of up to 256 KiB. glibc's own thresholds (128 KiB) give each of them
    back and fault it in again page by page: on loopback that took a third of a download's time.

    Returns:
        Whether the C library has these settings (glibc; others do without).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_M_MMAP_THRESHOLD, KEPT))
