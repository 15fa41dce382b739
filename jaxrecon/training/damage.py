"""Reading what may be damaged: one error, whatever the file libraries raise and print."""

import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

T = TypeVar("T")

HARMLESS = (
    "Attempted to create temporary directory",  # that of a checkpoint that a kill cut short: it is taken away
    "Metadata file does not exist",  # nothing of it is needed to read a checkpoint, whose own damage is told
)
"""How these warnings begin."""


class Damaged(Exception):
    """A part of a checkpoint cannot be read; who knows where it is makes a UserError of it."""


def read_or_damaged(part: str, read: Callable[[], T]) -> T:
    """What `read` gives.

    Args:
      part: what is read, for the message.
      read: reads it by orbax, which raises nearly anything where a file is missing or cut off.

    Raises:
      Damaged: it cannot be read, and the memory is not to blame.
    """
    with _silenced():
        try:
            return read()
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            damage = f"{part}: {type(error).__name__}: {error}".splitlines()[0][:200]
        gc.collect()  # reads that were given up complain when they go
    raise Damaged(damage)


@contextlib.contextmanager
def harmless_left_out() -> Iterator[None]:
    """Leave out those warnings of orbax that ask nothing of the user; all others are shown."""
    shown = lambda record: not str(record.msg).startswith(HARMLESS)
    log = logging.getLogger("absl")
    log.addFilter(shown)
    try:
        yield
    finally:
        log.removeFilter(shown)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Orbax reads side by side: all reads that fail but the first print a traceback from where nobody can catch it."""
    log, hooks = logging.getLogger("asyncio"), (sys.excepthook, sys.unraisablehook)
    before, log.disabled = log.disabled, True
    silent: Any = lambda *_: None
    sys.excepthook = sys.unraisablehook = silent
    try:
        yield
    finally:
        log.disabled = before
        sys.excepthook, sys.unraisablehook = hooks
