"""Batches of (Problem, Target): one shape each, read ahead by threads or processes, resumed exactly.

Everything up to a batch is NumPy (jaxrecon.data.preparation). Batch number i is a pure function of i and the seed: a
run that is resumed, with more workers or fewer, sees the batches that it would have seen.
"""

import collections
import dataclasses
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..checks import UserError
from ..operators import CARTESIAN, EncodingRecord
from ..problem import Problem, Target
from .index import Slices, scan_name
from .preparation import EmptySlice, Example, Preparation, name_of, prepare


def to_problem(example: Example, encoding: EncodingRecord = CARTESIAN) -> tuple[Problem, Target]:
    """(Problem, Target) on the device from an example, or from a batch of them: the same arrays with a leading axis.

    Args:
      example: made by `prepare` for this encoding. Without maps the operator has none: the model estimates them.
      encoding: that of the `Preparation`.
    """
    a = {name: jnp.array(array) for name, array in example.items()}
    return Problem.from_example(a, encoding), Target(a["target"], a["data_range"], scale=a["scale"])


class Batches:
    """Batches of (Problem, Target) without end, or for some epochs; made by `batches`. Each `iter` starts at the first.

    Iterators have get_state() -> {"next": number of the next batch}, set_state, and close, which ends threads and
    processes.
    """

    def __init__(self, source: "_BatchSource", n_threads: int, n_workers: int):
        self._source, self._n_threads, self._n_workers = source, n_threads, n_workers

    @property
    def per_epoch(self) -> int:
        """Batches in one epoch."""
        return self._source.per_epoch

    @property
    def n_empty(self) -> int:
        """Slices without signal that this process has met and left out so far."""
        return len(self._source.empty)

    def __iter__(self) -> "BatchIterator":
        return BatchIterator(self._source, self._n_threads, self._n_workers)


def batches(
    source: Slices,
    how: Preparation | Sequence[Preparation],
    *,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    n_epochs: int | None = None,
    n_threads: int = 2,
    n_workers: int = 0,
) -> Batches:
    """Batches of equal shapes for training.

    Slices of one shape (coils, y, x and target) make a bucket; each batch is drawn from one bucket, so that a jitted
    step compiles once per bucket. What does not fill a batch is left out of its epoch, other slices in each. A slice
    without signal (`EmptySlice`) is left out: the next one of its bucket takes its place.

    Args:
      source: `jaxrecon.data.Source`, or a list of Slices in memory.
      how: how a slice becomes an example; its `shape` and `n_coils` merge buckets. Of several, which differ in their masks, each
        example has one, drawn with equal chances.
      batch_size: examples per batch.
      seed: the seed of order, masks and keys.
      shuffle: a new order in each epoch; False: the order of the source, bucket by bucket.
      n_epochs: None: no end.
      n_threads: readers in each process.
      n_workers: processes; 0: threads of this one. A script with workers needs `if __name__ == "__main__":`.

    Raises:
      ValueError: no slices, or a bucket smaller than a batch; when it is read, a bucket without any signal.

    Example:
      >>> slices = [jr.data.Slice(kspace=np.ones((2, 8, 8), "complex64"))] * 6
      >>> training = batches(slices, Preparation(target=jr.data.preparation.rss_target), batch_size=2, seed=0)
      >>> training.per_epoch
      3
    """
    if batch_size < 1 or n_workers < 0 or n_threads < 1:
        raise UserError("wanted batch_size >= 1, n_threads >= 1 and n_workers >= 0")
    return Batches(_BatchSource(source, how, batch_size, seed, shuffle, n_epochs), n_threads, n_workers)


class BatchIterator(Iterator[tuple[Problem, Target]]):
    """Reads ahead by grain; its place is one number."""

    def __init__(self, source: "_BatchSource", n_threads: int, n_workers: int):
        self._source, self._n_threads, self._n_workers = source, n_threads, n_workers
        self._next = 0
        self._grain: Any = None
        self._finalizer: Any = None

    def __next__(self) -> tuple[Problem, Target]:
        if self._grain is None:
            ahead = _Shifted(self._source, self._next)
            self._grain = _read_ahead(ahead, self._n_threads, self._n_workers)
            # grain complains at exit about iterators left open
            self._finalizer = weakref.finalize(self, _close, self._grain)
        example = next(self._grain)
        self._next += 1
        return to_problem(example, self._source.encoding)

    def get_state(self) -> dict[str, int]:
        """The place, fit for JSON."""
        return {"next": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self.close()
        self._next = int(state["next"])

    def close(self) -> None:
        """End threads and processes; the next batch would start them again."""
        if self._finalizer is not None:
            self._finalizer()
        self._grain = self._finalizer = None


def labelled(source: Slices, how: Preparation) -> "Labelled":
    """(file, slice, problem, target) of each slice in the order of the source, for `jaxrecon.training.evaluator`.

    The randomness of a slice comes from the name of its scan (`scan_name`): a volume has one mask, the same in each
    evaluation. Slices without signal (`EmptySlice`) are left out, those after them move up.

    Args:
      source: `jaxrecon.data.Source`, or a list of Slices in memory.
      how: how a slice becomes an example.
    """
    return Labelled(source, how)


class Labelled:
    """What `labelled` gives: read anew in each iteration."""

    def __init__(self, source: Slices, how: Preparation):
        self._source, self._how = source, how

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[tuple[str, int, Problem, Target]]:
        n_empty: collections.Counter[str] = collections.Counter()
        for i in range(len(self._source)):
            part = self._source[i]
            rng = np.random.default_rng([ord(c) for c in scan_name(part.file)])
            try:
                example = prepare(part, self._how, rng)
            except EmptySlice:
                n_empty[part.file] += 1
            else:
                yield part.file, part.index - n_empty[part.file], *to_problem(example, self._how.encoding)


class _BatchSource:
    """Batch i as a dict of arrays; picklable, as grain's processes need it."""

    def __init__(self, source, how, batch_size, seed, shuffle, n_epochs):
        self._hows = (how,) if isinstance(how, Preparation) else tuple(how)
        self._source, self._size, self.encoding = source, batch_size, self._hows[0].encoding
        self._seed, self._shuffle, self._n_epochs = seed, shuffle, n_epochs
        self._buckets: dict[tuple, list[int]] = {}
        for i in range(len(source)):
            self._buckets.setdefault(_bucket(source, i, self._hows[0]), []).append(i)
        if not self._buckets:
            raise UserError("there are no slices to make batches of")
        for bucket, members in self._buckets.items():
            if len(members) < batch_size:
                raise UserError(
                    f"{len(members)} slices of shape {bucket} do not fill a batch of {batch_size}: merge shapes by shape "
                    "and n_coils (of the experiment, or of a Preparation), leave them out, or use smaller batches"
                )
        self.per_epoch = sum(len(members) // batch_size for members in self._buckets.values())
        self._latest: tuple[int, list[list[int]]] = (-1, [])
        self.empty: set[int] = set()

    def __len__(self):
        return sys.maxsize if self._n_epochs is None else self._n_epochs * self.per_epoch

    def __getitem__(self, position):
        epoch, place = divmod(position, self.per_epoch)
        examples = [self._example(epoch, i) for i in self._order(epoch)[place]]
        return {name: _stacked(name, examples) for name in examples[0]}

    def _example(self, epoch, first):
        """The example of a slice; for one without signal, that of the next in its bucket."""
        for i in self._from(first):
            rng = np.random.default_rng([self._seed, 1, epoch, i])
            how = self._hows[int(rng.integers(len(self._hows))) if len(self._hows) > 1 else 0]
            try:
                return prepare(self._source[i], how, rng)
            except EmptySlice:
                self.empty.add(i)
        raise UserError(
            f"{name_of(self._source[first])}: expected a signal in it or in another slice of its shape, found none"
        )

    def _from(self, first):
        """A slice, then those after it in its bucket, around its end."""
        yield first
        members = next(members for members in self._buckets.values() if first in members)
        place = members.index(first)
        yield from members[place + 1 :] + members[:place]

    def _order(self, epoch):
        """The batches of an epoch as lists of slices."""
        known, order = self._latest
        if known != epoch:
            rng, order = np.random.default_rng([self._seed, 0, epoch]), []
            for members in self._buckets.values():
                shuffled = rng.permutation(members).tolist() if self._shuffle else members
                order += [shuffled[k : k + self._size] for k in range(0, len(members) - self._size + 1, self._size)]
            if self._shuffle:
                order = [order[k] for k in rng.permutation(len(order))]
            self._latest = (epoch, order)
        return order


@dataclasses.dataclass(frozen=True)
class _Shifted:
    """A source from its element `start` on."""

    source: Any
    start: int

    def __len__(self):
        return max(len(self.source) - self.start, 0)

    def __getitem__(self, position):
        return self.source[self.start + position]


def _read_ahead(source, n_threads, n_workers):
    import grain
    from absl import flags

    data = grain.MapDataset.source(source).to_iter_dataset(
        grain.ReadOptions(num_threads=n_threads, prefetch_buffer_size=2 * n_threads)
    )
    if n_workers:
        # grain reads absl's flags, which only absl.app.run parses
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        data = data.mp_prefetch(
            grain.multiprocessing.MultiprocessingOptions(num_workers=n_workers, per_worker_buffer_size=2)
        )
    return iter(data)


def _close(iterator):
    if hasattr(iterator, "close"):
        iterator.close()


def _bucket(source, i, how):
    """What must be equal within a batch, from the index where there is one: no data are read."""
    entries = getattr(source, "entries", None)
    if entries is None:
        part = source[i]
        if part.kspace is None:
            raise UserError(f"{name_of(part)} has no k-space")
        *lead, coils, y, x = part.kspace.shape
        target = None if part.target is None else part.target.shape
    else:
        entry = entries[i]
        lead, coils, (y, x) = (
            [entry.n_frames] if getattr(source, "is_series", False) else [],
            entry.n_coils,
            entry.shape[-2:],
        )
        target = entry.recon_matrix
    return (*lead, how.n_coils or coils, *(how.shape or (y, x)), target)


def _stacked(name, examples):
    shapes = {np.shape(example[name]) for example in examples}
    if (
        name == "mask" and len(shapes) > 1
    ):  # of whole columns, of points, of neighbours or frames with masks of their own
        whole = np.broadcast_shapes(*shapes)
        return np.stack([np.broadcast_to(example[name], whole) for example in examples])
    if len(shapes) > 1:
        raise UserError(
            f"the {name} of one batch have different shapes {sorted(shapes)}: their files differ, split them"
        )
    return np.stack([example[name] for example in examples])
