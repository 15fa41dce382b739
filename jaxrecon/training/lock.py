"""One training at a time in a run folder: a lock of the operating system, which ends with its process."""

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import jax
import numpy as np
from jax.experimental import multihost_utils

from ..checks import DataWarning, UserError

FILE = ".lock"
"""Where in a run folder the lock is, and who holds it; the file stays, the lock does not."""
BYTE = 2**30
"""Which byte Windows locks: one that nobody reads."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder; the processes of one distributed run share it, the first holds the lock.

    However the process ends, its lock ends with it: a kill leaves none behind.

    Args:
      out: the run folder, which exists.

    Raises:
      ValueError: another training holds it; the message says which.
    """
    with open(out / FILE, "a+b") if jax.process_index() == 0 else contextlib.nullcontext() as file:
        free = file is None or _lock(file)
        if jax.process_count() > 1:
            free = bool(multihost_utils.process_allgather(np.array(free)).all())
        if not free:
            raise UserError(
                f"{out}: another training is at work in this folder ({_holder(out)}). Wait for its end, stop it, or choose "
                "another folder"
            )
        if file is not None:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
        yield


def _holder(out: Path) -> str:
    try:
        return (out / FILE).read_text(encoding="utf-8") or "it has just started"
    except OSError:
        return "its name cannot be read"


def _lock(file: IO[bytes]) -> bool:
    """Take the lock until the file is closed; False where another has it."""
    try:
        _take(file.fileno())
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        warnings.warn(
            f"{file.name} cannot be locked ({error.strerror or error}): see to it that no other training has this folder",
            DataWarning,
            stacklevel=4,
        )
    return True


if sys.platform == "win32":
    import msvcrt

    def _take(number: int) -> None:
        os.lseek(number, BYTE, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(number: int) -> None:
        # of the open file, not of the process: two trainings of one process exclude each other too
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
