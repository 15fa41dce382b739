"""P-GLEAM as one program over a mesh: a scan over ticks, outputs handed from device to device, for pods and several hosts."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ...models.unrolled import Unrolled
from ..devices import DATA, MODULE, put, state_shardings
from ..modules import (
    Learner,
    ModuleOptimizers,
    choose,
    learn,
    learners_of,
    local_loss,
    metrics_of,
    report,
    with_learners,
)
from ..start import has_parameters
from ..types import Loss, group_steps
from ..update import conjugated, keep_where, with_fresh_keys


def spmd_step(
    model: Unrolled,
    losses: Sequence[Loss],
    tx: ModuleOptimizers,
    mesh: Mesh,
    *,
    ema_decay: float | None,
    schedule: str,
) -> Callable:
    """The UpdateFn of `p_gleam` over a stack of mini-batches, for the schedules spmd and pmap.

    Args:
      model: the network.
      losses: the loss of each module.
      tx: the optimizers of the modules.
      mesh: a mesh of any devices.
      ema_decay: decay of the moving average of the weights; None: there is none.
      schedule: spmd or pmap.
    """
    n_stages, n_data = mesh.shape[MODULE], mesh.shape[DATA]
    body = _Body(model, losses, tx, n_stages, n_data, ema_decay)
    everywhere, batches = NamedSharding(mesh, P()), NamedSharding(mesh, P(None, DATA) if n_data > 1 else P())
    if schedule == "pmap":
        mapped = _pmapped(body, mesh)
    else:
        specs = (P(MODULE), P(), batches.spec, batches.spec)
        mapped = jax.shard_map(
            body, mesh=mesh, in_specs=specs, out_specs=(P(MODULE), P(), P(None, MODULE)), check_vma=False
        )

    def step(state, problems, targets):
        n_batches = jax.tree.leaves(targets)[0].shape[0]
        fresh = jax.vmap(with_fresh_keys, (0, None, 0))
        problems = fresh(problems, state.key, state.step + jnp.arange(n_batches))
        start, steps = learners_of(state)
        steps, start, reports = mapped(steps, start, problems, targets)
        return with_learners(state, start, steps, state.step + n_batches), jax.vmap(metrics_of)(reports)

    shardings = (state_shardings(mesh, ema=ema_decay is not None), everywhere)
    jitted = jax.jit(step, donate_argnums=0, out_shardings=shardings) if schedule == "spmd" else step
    return lambda state, problems, targets: jitted(state, *put((problems, targets), batches))


class _Body:
    """What each device does in one call: written against the named axes, so that any mapping over them will do."""

    def __init__(self, model, losses, tx, n_stages, n_data, ema_decay):
        self.model, self.losses, self.tx = model, losses, tx
        self.n_stages, self.n_data, self.ema_decay = n_stages, n_data, ema_decay
        self.n = model.n_steps // tx.n_modules
        self.n_local = tx.n_modules // n_stages

    def __call__(self, steps: Learner, start: Learner, problems: Any, targets: Any):
        """This device's modules (N / D, ...) and a copy of start, trained on all mini-batches; reports (batch, module)."""
        device, n_batches = jax.lax.axis_index(MODULE), jax.tree.leaves(targets)[0].shape[0]
        grouped = group_steps(steps.params, self.n_local)
        averages = None if steps.ema is None else group_steps(steps.ema, self.n_local)
        modules = Learner(grouped, self.tx.group(steps.opt_state, grouped), averages)
        travels = has_parameters(start.params)  # the context with the carry

        def tick(carried, t):
            modules, start, arriving = carried
            # filling and draining ticks compute on real data, so that nothing overflows, and change nothing
            number = jnp.clip(t - device, 0, n_batches - 1)
            idle = number != t - device
            problem, target = jax.tree.map(lambda a: a[number], (problems, targets))
            if travels:
                state, context = arriving
            else:
                state, context = self.model.start(start.params, problem)
                state = keep_where(device == 0, state, arriving)

            def train(carried, scanned):
                start, state, context = carried
                module, j = scanned
                m = device * self.n_local + j
                value, state, context, gradients = self.gradient(
                    m, start.params, module.params, state, context, problem, target
                )
                start, module, own = self.update(m, idle, start, module, value, gradients)
                return (start, state, context), (module, own)

            (start, state, context), (modules, own) = jax.lax.scan(
                train, (start, state, context), (modules, jnp.arange(self.n_local))
            )
            return (modules, start, self.hand_on((state, context) if travels else state)), own

        # stands for what arrives before the first mini-batch does: it has the right shapes, and is finite
        state, context = self.model.start(start.params, jax.tree.map(lambda a: a[0], problems))
        arriving = (state, context) if travels else state
        ticks = jnp.arange(n_batches + self.n_stages - 1)
        (modules, start, _), reports = jax.lax.scan(tick, (modules, start, arriving), ticks)
        reports = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, device, n_batches), reports)
        flat = lambda tree: jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
        steps = Learner(flat(modules.params), self.tx.ungroup(modules.opt_state, modules.params), flat(modules.ema))
        return steps, self.from_first(device, start), reports

    def gradient(self, m, start, theta, state, context, problem, target):
        """(loss, output, context, (gradient of start, gradient of theta)) of module m; module 0 runs `start` where that learns."""
        loss, indices = choose(self.losses, m), m * self.n + jnp.arange(self.n)

        def later(start, theta, state, context):
            local = lambda theta: local_loss(self.model, loss, theta, state, context, target, indices)
            (value, state), gradient = jax.value_and_grad(local, has_aux=True)(theta)
            return value, state, context, (jax.tree.map(jnp.zeros_like, start), gradient)

        def first(start, theta, state, context):
            def local(start, theta):
                state, context = self.model.start(start, problem)
                value, state = local_loss(self.model, loss, theta, state, context, target, indices)
                return value, (state, context)

            (value, (state, context)), gradients = jax.value_and_grad(local, (0, 1), has_aux=True)(start, theta)
            return value, state, context, gradients

        if not has_parameters(start):
            value, state, context, gradients = later(start, theta, state, context)
        else:
            value, state, context, gradients = jax.lax.cond(m == 0, first, later, start, theta, state, context)
        if self.n_data > 1:
            value, gradients = jax.lax.pmean((value, gradients), DATA)
        return value, state, context, gradients

    def update(self, m, idle, start, module, value, gradients):
        """(start, module, report) after module m has learned, unless this tick is idle."""
        own = report(value, *gradients)
        bad, gradients = idle | jnp.any(own.nonfinite), conjugated(gradients)
        update = functools.partial(self.tx.update_module, m=m)
        module = learn(update, module, gradients[1], bad, self.ema_decay)
        start = learn(self.tx.start.update, start, gradients[0], bad | (m != 0), self.ema_decay)
        return start, module, own

    def hand_on(self, tree):
        """What the next device gets; the first gets zeros, and uses none of it."""
        pairs = [(d, d + 1) for d in range(self.n_stages - 1)]

        def send(a):
            if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(send(jax.random.key_data(a)), impl=jax.random.key_impl(a))
            return jax.lax.ppermute(a, MODULE, pairs)

        return jax.tree.map(send, tree)

    def from_first(self, device, start):
        """The learner of `start` as device 0 has it."""
        return jax.tree.map(lambda a: jax.lax.psum(jnp.where(device == 0, a, jnp.zeros_like(a)), MODULE), start)


def _pmapped(body, mesh):
    """The body under jax.pmap: arrays with a leading axis of devices in place of sharded ones."""
    n_stages = mesh.shape[MODULE]
    mapped = jax.pmap(
        body, axis_name=MODULE, in_axes=(0, None, None, None), out_axes=(0, None, 1), devices=list(mesh.devices.flat)
    )

    def run(steps, start, problems, targets):
        apart = jax.tree.map(lambda a: a.reshape(n_stages, -1, *a.shape[1:]), steps)
        steps, start, reports = mapped(apart, start, problems, targets)
        steps = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), steps)
        return steps, start, jax.tree.map(lambda a: a.reshape(a.shape[0], -1, *a.shape[3:]), reports)

    return run
