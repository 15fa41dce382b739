"""The record of a run: one JSON line per event, a progress bar, and TensorBoard where tensorboardX is installed."""

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from ..files import atomic

FILE = "log.jsonl"
"""Where in a run folder the log is."""
SOON, AGAIN = 3.0, 30.0
"""After how many seconds it is first said what is waited for, and after how many more again."""


@contextlib.contextmanager
def waiting(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Say what is waited for and for how long, where that takes long: after some seconds, and every half minute from then on.

    Args:
      what: what goes on, e.g. "compiling the training step".
      say: takes a line; called by a thread of its own, since compiling keeps this one.
    """
    done, started = threading.Event(), time.monotonic()

    def tell():
        pause = SOON
        while not done.wait(pause):
            say(f"{what}, for {time.monotonic() - started:.0f} s so far")
            pause = AGAIN

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class RunLog:
    """Writes what happens in a run; a context manager.

    Attributes:
      path: its file.
      known: the step of the last record of the updates made before; below `start` where records were lost.

    Args:
      out: the run folder.
      start: updates made before: records beyond them, which a run left that was killed, are dropped.
      n_updates: updates of the whole run, the end of the bar.
      progress: True shows the bar, with lines above it; a function takes the lines, and there is no bar.
    """

    def __init__(self, out: Path, *, start: int, n_updates: int, progress: bool | Callable[[str], None]):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        # where there are several processes, the first one writes
        writes = jax.process_index() == 0
        if writes:
            _drop_after(out / FILE, start)
        self.path, self.known = out / FILE, start
        if writes:
            self.known = max((record["step"] for record in read_log(out)), default=0)
        self._file = open(out / FILE if writes else os.devnull, "a", encoding="utf-8")
        self._board = _tensorboard(out, start) if writes else None
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, disable=not (progress is True and writes))
        self._say = progress if callable(progress) and writes else None
        self._task = self._progress.add_task("compiling", total=n_updates, completed=start, speed="")

    def __enter__(self) -> "RunLog":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._file.close()
        if self._board is not None:
            self._board.close()

    def record(self, event: str, step: int, values: Mapping[str, Any]) -> None:
        """Write one event: numbers (also to TensorBoard), lists of numbers or text; NaN and infinity become null."""
        line = {"event": event, "step": step} | {name: _json(value) for name, value in values.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{event}/{name}", value, step)

    def advance(self, step: int, loss: float, speed: float) -> None:
        """Move the bar."""
        self._progress.update(
            self._task, completed=step, description=f"loss {loss:.4g}", speed=f"{speed:.3g} steps/s" if speed else ""
        )

    def message(self, text: str) -> None:
        """A line above the bar, or for the function that takes the lines."""
        if self._say is not None:
            self._say(text)
        elif not self._progress.disable:
            self._progress.console.print(text, markup=False, highlight=False)

    def waiting(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Lines about what is waited for: see `waiting`."""
        return waiting(what, self.message)


def read_log(out: str | Path) -> list[dict[str, Any]]:
    """The records of a run folder, in their order; a last line that was cut off is left out."""
    path = Path(out) / FILE
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _drop_after(path, step):
    """Leave the records up to a step only."""
    if path.exists():
        kept = [json.dumps(r) + "\n" for r in read_log(path.parent) if r["step"] <= step]
        with atomic(path, overwrite=True) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def _tensorboard(out, start):
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"), purge_step=start + 1 if start else None)


def _json(value):
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
