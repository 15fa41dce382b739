"""Ctrl-C and SIGTERM as a wish to stop: the first one lets work end in order, a second one ends the process."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 1.0
"""Seconds in which a signal is the first one again: launchers hand on what the terminal sends to all."""


class Wish:
    """Whether to stop, for the argument `stop` of a training.

    Attributes:
      number: that of the first signal that came; None: none came.
    """

    number: int | None = None

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """Exit code of a process that was stopped: 130 by Ctrl-C, 143 by SIGTERM, also where another host got it."""
        return 128 + (self.number or signal.SIGTERM)


@contextlib.contextmanager
def stopping(what: str) -> Iterator[Wish]:
    """Take Ctrl-C and SIGTERM as a wish to stop; a second one stops at once, also within what is compiled.

    Args:
      what: how it is going to stop, for the line that answers the first signal.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        # handlers belong to the main thread: who calls commands from another one has them there
        yield wish
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    # what is ignored, as Ctrl-C by jobs in the background, stays ignored
    former = {s: signal.signal(s, lambda *_: None) for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # Python runs handlers between two lines of the main thread: while that compiles, only another thread sees signals
    listener = threading.Thread(target=_listen, args=(reader, wish, what), daemon=True)
    listener.start()
    try:
        yield wish
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in former.items():
            signal.signal(number, handler)
        writer.close()
        listener.join()
        reader.close()


def _listen(reader: socket.socket, wish: Wish, what: str) -> None:
    came = 0.0
    while number := reader.recv(1):
        if number[0] not in SIGNALS:
            continue
        name = signal.Signals(number[0]).name
        if wish.number is None:
            came, wish.number = time.monotonic(), number[0]
            print(f"{name}: {what}; a second one stops at once", file=sys.stderr, flush=True)
        elif time.monotonic() - came > SAME:
            Console().show_cursor(True)  # a bar has hidden it
            print(f"{name}: stopped at once", file=sys.stderr, flush=True)
            os._exit(128 + number[0])
