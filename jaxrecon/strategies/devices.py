"""Devices as a grid of data shards and module stages, and where the parts of a training state live on it."""

import socket
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..checks import UserError
from .update import TrainState, Update

DATA, MODULE = "data", "module"
"""Names of the mesh axes."""


def module_mesh(n_devices: int | None = None, *, n_data: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the axes "data" and "module" for `p_gleam`.

    Args:
      n_devices: how many of the devices, those of all hosts counted; None: all.
      n_data: data shards K; the modules are spread over n_devices / K stages, of which there are K replicas.
      devices: the devices to choose from; None: jax.devices().

    Raises:
      ValueError: there are fewer devices, K does not divide their number, or a host has none of them.
    """
    there = list(jax.devices() if devices is None else devices)
    n_devices = len(there) if n_devices is None else n_devices
    if n_devices > len(there):
        kind = there[0].platform if there else jax.default_backend()
        cure = "Ask for fewer, or start one process on each host with the address of the first"
        if kind == "cpu":
            cure += f"; XLA_FLAGS=--xla_force_host_platform_device_count={n_devices} in the environment makes as many of one CPU"
        raise UserError(f"{n_devices} devices are asked for, but there are {len(there)} ({kind}). {cure}")
    if n_devices < 1 or n_data < 1 or n_devices % n_data:
        raise UserError(f"{n_data} data shards do not divide {n_devices} devices evenly")
    chosen = there[:n_devices]
    without = {d.process_index for d in there} - {d.process_index for d in chosen}
    if without:
        raise UserError(f"{n_devices} devices leave none for process {min(without)} of {jax.process_count()}: use all")
    return Mesh(np.array(chosen).reshape(n_data, -1), (DATA, MODULE))


def join_hosts(address: str, n_processes: int, process: int, *, timeout: int = 300) -> None:
    """Make one machine of several hosts: called first of all, once by the process of each host.

    Args:
      address: host:port of process 0, that the others can reach.
      n_processes: how many there are.
      process: number of this one, 0 .. n_processes - 1.
      timeout: seconds to wait for the others.

    Raises:
      ValueError: the numbers do not fit.
      TimeoutError: not all have come.
      OSError: jax refuses, e.g. the port is taken.
    """
    if not 0 <= process < n_processes:
        raise UserError(f"process {process} of {n_processes}: processes are numbered 0 to {n_processes - 1}")
    if not address.rpartition(":")[2].isdigit():
        raise UserError(f"the address of process 0 must be host:port, not '{address}'")
    if process == 0:
        try:  # jax crashes where the port is taken
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", int(address.rpartition(":")[2])))
        except (OSError, OverflowError) as error:
            raise OSError(f"process 0 cannot listen at {address}: {error}. Choose another port") from error
    failed: list[Exception] = []

    def meet():
        try:
            jax.distributed.initialize(address, n_processes, process, initialization_timeout=timeout + 3600)
        except Exception as error:
            failed.append(error)

    # jax ends the process where it has waited too long, so that it must not be jax who gives up first
    meeting = threading.Thread(target=meet, daemon=True)
    meeting.start()
    meeting.join(timeout)
    if meeting.is_alive():
        raise TimeoutError(
            f"process {process}: the {n_processes} processes have not all met at {address} within {timeout} s. Is each of "
            "them started, with this address and this number of processes and a number of its own, and does it reach "
            "that port?"
        )
    if failed:
        raise OSError(f"process {process} cannot join the others at {address}: {failed[0]}") from failed[0]


def data_parallel(update: Update, mesh: Mesh) -> Update:
    """The same update with the examples of a batch spread over the "data" axis of a mesh, and the state on every device."""
    everywhere, batch = NamedSharding(mesh, P()), NamedSharding(mesh, P(DATA))

    jitted = jax.jit(update.step, donate_argnums=0, out_shardings=everywhere)

    def step(state, problem, target):
        size = jax.tree.leaves(target)[0].shape[0]
        if size % mesh.shape[DATA]:
            raise UserError(f"{mesh.shape[DATA]} data shards do not divide a batch of {size} evenly")
        return jitted(put(state, everywhere), *put((problem, target), batch))

    return Update(lambda params, key: put(update.init(params, key), everywhere), step)


class Stage(NamedTuple):
    """The devices that train the same modules, one for each data shard.

    Attributes:
      devices: the devices.
      whole: sharding of what each of them has.
      batch: sharding of what is split over the examples.
    """

    devices: tuple
    whole: NamedSharding
    batch: NamedSharding


def stages_of(mesh: Mesh) -> list[Stage]:
    """The stages of a mesh, in the order of the modules."""
    out = []
    for column in mesh.devices.T:
        own = Mesh(column, (DATA,))
        batch = P(DATA) if len(column) > 1 else P()
        out.append(Stage(tuple(column), NamedSharding(own, P()), NamedSharding(own, batch)))
    return out


def state_shardings(mesh: Mesh, *, ema: bool) -> Any:
    """Shardings of a TrainState as a prefix tree: steps by module, all else on every device."""
    everywhere = NamedSharding(mesh, P())
    parts: Any = {"start": everywhere, "steps": NamedSharding(mesh, P(MODULE))}
    whole: Any = everywhere
    return TrainState(whole, parts, parts, whole, parts if ema else None)


def put(tree: Any, shardings: Any) -> Any:
    """Arrays to where they belong, on all hosts: each host gives the same values and keeps its shards.

    Args:
      tree: arrays, of the host or of a device.
      shardings: a sharding, or a tree of them that is a prefix of `tree`.
    """
    is_sharding = lambda x: isinstance(x, jax.sharding.Sharding)
    return jax.tree.map(lambda s, part: jax.tree.map(lambda a: _put(a, s), part), shardings, tree, is_leaf=is_sharding)


def _put(array, sharding):
    if isinstance(array, jax.Array) and array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(array), sharding), impl=jax.random.key_impl(array))
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def gather(tree: Any) -> Any:
    """Arrays of a mesh on one device of this host, to work with them as with any others."""
    return jax.tree.map(_gather, tree)


def _gather(array):
    if not isinstance(array, jax.Array) or len(array.sharding.device_set) == 1:
        return array
    if array.is_fully_addressable:
        return jax.device_put(array, jax.local_devices()[0])
    mesh: Any = array.sharding.mesh  # type: ignore[attr-defined]
    everywhere = NamedSharding(mesh, P())
    return jax.jit(lambda a: a, out_shardings=everywhere)(array).addressable_data(0)


def view(tree: Any, stage: Stage) -> Any:
    """A stage's shards of arrays on the mesh, without a copy."""

    def one(array):
        shards = {s.device: s.data for s in array.addressable_shards}
        own = [shards[device] for device in stage.devices]
        return jax.make_array_from_single_device_arrays(own[0].shape, stage.whole, own)

    return jax.tree.map(one, tree)


def join(parts: Sequence[Any], mesh: Mesh) -> Any:
    """Arrays on the mesh, sharded by module, from those of each stage, without a copy."""
    sharding = NamedSharding(mesh, P(MODULE))

    def one(*arrays):
        shape = (sum(a.shape[0] for a in arrays), *arrays[0].shape[1:])
        shards = [s.data for a in arrays for s in a.addressable_shards]
        return jax.make_array_from_single_device_arrays(shape, sharding, shards)

    return jax.tree.map(one, *parts)
