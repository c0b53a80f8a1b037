"""One owner for a file: by a lock of the operating system, which goes with the process however that ends."""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _FAR = 2**40
    """Where the locked byte stands: Windows would refuse to read a locked one."""

    def lock(descriptor: int) -> bool:
        """Any thread. Take the lock of an open file; False if somebody has it."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Any thread. Take the lock of an open file; False if somebody has it.

        ``flock`` belongs to the opened file: another object of the same process is refused as well, by whatever name
        it has come, and closing another descriptor of the file does not give the lock away.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
