"""Whether a run is asked to stop: one answer for all of its processes, at the same step."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..checks import UserError


def check_stop(asked: object) -> None:
    """Raise ValueError for what can't be asked whether to stop.

    Args:
      asked: a function without arguments, or None.
    """
    if asked is not None and not callable(asked):
        raise UserError(
            f"stop is {asked!r}: expected a function without arguments, True from when on the training shall stop, such as "
            "threading.Event().is_set"
        )


class StopRequest:
    """Asks whether to stop, once after each call of the update function.

    Where there are several processes, one that is asked stops all of them, a call later: their answers meet on the devices
    while the next update runs, so that no host waits for it.

    Args:
      asked: True from when on the run shall stop; None: never.
    """

    def __init__(self, asked: Callable[[], bool] | None):
        self._asked = asked
        self._on_its_way: jax.Array | None = None

    def __call__(self) -> bool:
        """Whether this was the last call of the update function."""
        own = self._asked is not None and bool(self._asked())
        if jax.process_count() == 1:
            return own
        before, self._on_its_way = self._on_its_way, _anywhere(own)
        return before is not None and bool(np.asarray(before.addressable_data(0)))


def _anywhere(own: bool) -> jax.Array:
    """Whether any process says True, on all of them; each calls this equally often."""
    each, reduce = _one_device_each()
    flags = jax.make_array_from_callback((each.mesh.size,), each, lambda _: np.array([own]))
    return reduce(flags)


@functools.cache
def _one_device_each():
    """(sharding of one value of each process, their `any`)."""
    first: dict[int, jax.Device] = {}
    for device in jax.devices():
        first.setdefault(device.process_index, device)
    mesh = Mesh(np.array([first[i] for i in sorted(first)]), ("process",))
    return NamedSharding(mesh, P("process")), jax.jit(jnp.any, out_shardings=NamedSharding(mesh, P()))
