"""P-GLEAM: greedy modules trained side by side on several devices, by the same updates as on one.

Source: GLEAM, Algorithm 2.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import optax
from jax.sharding import Mesh

from ...checks import UserError
from ...models.unrolled import Unrolled
from ..devices import DATA, MODULE, put, state_shardings
from ..modules import ModuleOptimizers, check_modules, one_per_module, per_module
from ..types import Loss
from ..update import Update, UpdateStrategy, check_decay, create_state
from .dispatch import dispatched_step
from .spmd import spmd_step

Schedule = Literal["pipeline", "algorithm2", "spmd", "pmap"]
"""How `p_gleam` divides the work among devices."""


def p_gleam(
    n_modules: int,
    mesh: Mesh,
    tx: optax.GradientTransformation | Sequence[optax.GradientTransformation],
    *,
    schedule: Schedule = "pipeline",
    n_batches: int = 1,
    ema_decay: float | None = None,
) -> "UpdateStrategy":
    """GLEAM with M modules on D devices: as M / D modules are trained on one mini-batch, the others are on other ones.

    Module m needs x_{m-1} of a mini-batch and its own weights, which no other module sees: device d trains on mini-batch
    k - d while device 0 trains on mini-batch k. Each module has exactly the inputs and updates of Algorithm 1, the pipeline's
    filling and draining included, so that the result is `gleam`'s: bit for bit the same on any number of devices where
    modules are dispatched ("pipeline", "algorithm2"), to rounding in the one program of "spmd" and "pmap".

    Schedules:
      pipeline: device d has modules d M / D to (d + 1) M / D - 1; a jitted step for each module is dispatched to its device
        without waiting, and outputs move on from device to device. Calls overlap by themselves: no stack is needed.
      algorithm2: the paper's: module m on device m mod D; in blocks of D modules all forward passes, then all backward
        passes, side by side. Keeps a module's activations between the two. Modules come to their devices and go back in
        each call: give it a stack.
      spmd: one program over the mesh (jax.shard_map) for pods and several hosts: in tick t device d trains on
        mini-batch t - d, and hands its output on by ppermute. A call of T mini-batches takes T + D - 1 ticks, so choose
        n_batches well above D. Losses, optimizers and weights of all modules have one shape.
      pmap: the same program under jax.pmap, without data shards.

    Where `start` has parameters (learned maps), they learn from module 0's loss on device 0, with module 0's optimizer. In
    the spmd form only device 0 runs `start`, whose output travels with the carry: in each tick a device sends its context
    (for VarNet k-space, maps and mask of a mini-batch) to the next; each device has a copy of the parameters and the
    optimizer's state of `start`, of which device 0's is the one that learns, and which are made equal by one all-reduce at
    the end of a call. Without parameters each device runs `start` itself on its mini-batch, and the carry alone is sent.

    With K data shards a mini-batch is split over K devices for each stage, and gradients are their means: then the loss must
    be a mean over examples, and in the spmd form models must not look across the batch (joint CG).

    Args:
      n_modules: M, a divisor of the number of steps.
      mesh: axes "data" (K) and "module" (D, a divisor of M), as `module_mesh` makes it.
      tx: the optimizer of each module, or a sequence of M, e.g. `[optax.adam(rate) for rate in rates]` (see `per_module`).
      schedule: one of the above.
      n_batches: T, mini-batches in one call. T > 1: problem, target and metrics have a leading axis of T.
      ema_decay: decay of a moving average of the weights, as in `from_grad_fn`; None: no average.

    Returns:
      (model, loss) -> Update; loss may be a sequence of M. Its state is that of
      `from_grad_fn(gleam(M)(model, loss), per_module(tx, M, untrained=model.untrained))`: each goes on from the other's, with
      another M too. Its metrics are theirs: loss (of the last module), losses (module,), grad_norm, nonfinite. A module whose
      loss or gradient is not finite is left as it was.

    Raises:
      ValueError: shared weights, M does not divide N, D does not divide M, a mesh without these axes, K does not divide the
        batch, or devices of other hosts where modules are dispatched.

    Source: GLEAM, Algorithm 2, and the pipeline over mini-batches that its decoupled modules allow.
    """
    check_decay(ema_decay)
    if schedule not in get_args(Schedule):
        raise UserError(f"there is no schedule '{schedule}'; there are {', '.join(get_args(Schedule))}")
    if mesh.axis_names != (DATA, MODULE):
        raise UserError(f"p_gleam needs a mesh with the axes {DATA} and {MODULE}, not {mesh.axis_names}: module_mesh")
    n_data, n_stages = mesh.shape[DATA], mesh.shape[MODULE]
    if n_modules < 1 or n_modules % n_stages:
        raise UserError(
            f"p_gleam: {n_stages} devices for modules do not divide {n_modules} modules evenly: use another number of either"
        )
    if n_batches < 1:
        raise UserError(f"n_batches must be 1 or more, not {n_batches}")
    if schedule == "pmap" and n_data > 1:
        raise UserError("schedule pmap has no data shards: use spmd")
    if schedule != "spmd" and any(d.process_index != jax.process_index() for d in mesh.devices.flat):
        raise UserError(f"schedule {schedule} dispatches from one process: with several hosts use spmd")
    tx = one_per_module(tx, n_modules, "optimizers")

    def strategy(model: Unrolled, loss: Loss | Sequence[Loss]) -> Update:
        check_modules(model, n_modules, "p_gleam")
        if n_data > 1 and not model.n_batch:
            raise UserError("p_gleam splits batches over data shards: give it batched(model)")
        losses = one_per_module(loss, n_modules, "losses")
        optimizers = ModuleOptimizers(tx, n_modules, model.untrained)
        build = dispatched_step if schedule in ("pipeline", "algorithm2") else spmd_step
        inner = build(model, losses, optimizers, mesh, ema_decay=ema_decay, schedule=schedule)
        shardings = state_shardings(mesh, ema=ema_decay is not None)

        def step(state, problem, target):
            if n_batches == 1:
                problem, target = _stack_of_one((problem, target))
            _check_batches(target, n_batches, n_data)
            state, metrics = inner(put(state, shardings), problem, target)
            return state, metrics if n_batches > 1 else _only(metrics)

        def init(params, key):
            state = create_state(
                params, per_module(tx, n_modules, untrained=model.untrained), key, ema=ema_decay is not None
            )
            return put(state, shardings)

        return Update(init, step, n_batches)

    return strategy


@jax.jit
def _stack_of_one(tree):
    return jax.tree.map(lambda a: a[None], tree)


@jax.jit
def _only(stack):
    return jax.tree.map(lambda a: a[0], stack)


def _check_batches(target: Any, n_batches: int, n_data: int) -> None:
    shape = jax.tree.leaves(target)[0].shape
    if shape[0] != n_batches:
        raise UserError(f"p_gleam takes {n_batches} mini-batches in a call, but got {shape[0]}: the target is {shape}")
    if n_data > 1 and shape[1] % n_data:
        raise UserError(f"{n_data} data shards do not divide a batch of {shape[1]} evenly")
