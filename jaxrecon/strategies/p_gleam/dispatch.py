"""P-GLEAM by dispatch: one jitted step for each module on its own device, from a host that does not wait."""

import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...models.unrolled import Unrolled
from ..devices import Stage, join, put, stages_of, view
from ..modules import (
    Learner,
    ModuleOptimizers,
    learn,
    learners_of,
    local_loss,
    metrics_of,
    report,
    with_learners,
)
from ..types import Loss, group_steps
from ..update import TrainState, conjugated, with_fresh_keys


class Kind(NamedTuple):
    """What a module is but its number and its arrays; static under jit, so that modules of one kind are compiled once.

    Attributes:
      model: the network.
      n: number of the module's steps.
      loss: the module's own loss.
      tx: the module's optimizer.
      start_tx: that of `start`.
      ema_decay: decay of the moving average of the weights; None: there is none.
    """

    model: Unrolled
    n: int
    loss: Loss
    tx: optax.GradientTransformation
    start_tx: optax.GradientTransformation
    ema_decay: float | None


def dispatched_step(
    model: Unrolled,
    losses: Sequence[Loss],
    tx: ModuleOptimizers,
    mesh: Mesh,
    *,
    ema_decay: float | None,
    schedule: str,
) -> Callable:
    """The UpdateFn of `p_gleam` over a stack of mini-batches, for the schedules pipeline and algorithm2.

    Args:
      model: the network.
      losses: the loss of each module.
      tx: the optimizers of the modules.
      mesh: a mesh of this host's devices.
      ema_decay: decay of the moving average of the weights; None: there is none.
      schedule: pipeline or algorithm2.
    """
    stages, n_modules = stages_of(mesh), tx.n_modules
    per_stage = n_modules // len(stages)
    home = [m // per_stage for m in range(n_modules)]
    owner = [m % len(stages) for m in range(n_modules)] if schedule == "algorithm2" else home
    n = model.n_steps // n_modules
    kinds = [Kind(model, n, *own, tx.start, ema_decay) for own in zip(losses, tx.all, strict=True)]
    split, merge = functools.partial(_split, tx, n), functools.partial(_merge, tx)
    calls = [_Calls(stage, split, merge) for stage in stages]
    run = functools.partial(_algorithm2 if schedule == "algorithm2" else _pipeline, kinds, calls, stages, owner)
    # so many mini-batches keep all devices busy; with more on their way the inputs that wait would fill the memory
    in_flight: collections.deque = collections.deque()

    def step(state, problems, targets):
        start, learners = take_apart(state)
        reports, n_batches = [], jax.tree.leaves(targets)[0].shape[0]
        key, number = view((state.key, state.step), stages[0])
        for t in range(n_batches):
            batch = (*put(_nth((problems, targets), t), stages[0].batch), key, number, t)
            start, own = run(start, learners, batch)
            reports.append(own)
            in_flight.append(own[-1].loss)
            if len(in_flight) > 2 * len(stages):
                jax.block_until_ready(in_flight.popleft())
        # on the last device, the last to be done with these mini-batches: no other has to wait
        metrics = _stack_metrics(put(reports, stages[-1].whole))
        return put_together(state, start, learners, n_batches), metrics

    def take_apart(state: TrainState) -> tuple[Learner, list[Learner]]:
        """(learner of start on the first stage, learners of all modules on the stages that train them)."""
        start, steps = learners_of(state)
        pairs = zip(calls, stages, strict=True)
        learners = [learner for call, stage in pairs for learner in call.split(view(steps, stage))]
        if owner != home:
            learners = [put(learner, stages[s].whole) for learner, s in zip(learners, owner, strict=True)]
        return view(start, stages[0]), learners

    def put_together(state, start, learners, n_batches):
        if owner != home:
            learners = [put(learner, stages[s].whole) for learner, s in zip(learners, home, strict=True)]
        parts = [call.merge(learners[s * per_stage : (s + 1) * per_stage]) for s, call in enumerate(calls)]
        everywhere = NamedSharding(mesh, PartitionSpec())
        return with_learners(state, put(start, everywhere), join(parts, mesh), state.step + n_batches)

    return step


def _pipeline(kinds, calls, stages, owner, start, learners, batch):
    """One mini-batch through all modules, each trained as it comes by; nothing waits."""
    start, learners[0], state, context, own = calls[0].first(kinds[0], start, learners[0], *batch)
    reports, target = [own], batch[1]
    for m in range(1, len(learners)):
        if owner[m] != owner[m - 1]:
            state, context, target = put((state, context, target), stages[owner[m]].batch)
        learners[m], state, own = calls[owner[m]].later(kinds[m], learners[m], state, context, target, m)
        reports.append(own)
    return start, reports


def _algorithm2(kinds, calls, stages, owner, start, learners, batch):
    """One mini-batch in blocks of D modules: the forward passes from device to device, then the backward passes at once."""
    n_stages, reports = len(stages), []
    inputs = {}  # context and target, on each device that had them
    for block in range(0, len(learners), n_stages):
        tapes = []
        for m in range(block, block + n_stages):
            call = calls[owner[m]]
            if m == 0:
                tape, state, context = call.first_forward(kinds[0], start.params, learners[0].params, *batch)
                inputs[0] = (context, batch[1])
            else:
                state = put(state, stages[owner[m]].batch)
                if owner[m] not in inputs:
                    inputs[owner[m]] = put(inputs[owner[m - 1]], stages[owner[m]].batch)
                tape, state = call.forward(kinds[m], learners[m].params, state, *inputs[owner[m]], m)
            tapes.append(tape)
        for m, tape in zip(range(block, block + n_stages), tapes, strict=True):
            call = calls[owner[m]]
            if m == 0:
                start, learners[0], own = call.first_backward(kinds[0], tape, start, learners[0])
            else:
                learners[m], own = call.backward(kinds[m], tape, learners[m])
            reports.append(own)
    return start, reports


def _first(kind, start, learner, problem, target, key, number, t):
    """Module 0, with `start`."""
    local = _opening(kind, problem, target, key, number, t)
    (value, outputs), gradients = jax.value_and_grad(local, (0, 1), has_aux=True)(start.params, learner.params)
    start, learner, own = _update_first(kind, start, learner, value, gradients)
    return start, learner, *outputs, own


def _later(kind, learner, state, context, target, m):
    """Module m; when it is compiled, only its kind is known."""
    local = _module(kind, m, state, context, target)
    (value, state), gradient = jax.value_and_grad(local, has_aux=True)(learner.params)
    learner, own = _update(kind, learner, value, gradient)
    return learner, state, own


def _first_forward(kind, start, theta, problem, target, key, number, t):
    local = _opening(kind, problem, target, key, number, t)
    value, pull, (state, context) = jax.vjp(local, start, theta, has_aux=True)
    return (value, pull), state, context


def _first_backward(kind, tape, start, learner):
    value, pull = tape
    return _update_first(kind, start, learner, value, pull(jnp.ones_like(value)))


def _forward(kind, theta, state, context, target, m):
    value, pull, state = jax.vjp(_module(kind, m, state, context, target), theta, has_aux=True)
    return (value, pull), state


def _backward(kind, tape, learner):
    value, pull = tape
    (gradient,) = pull(jnp.ones_like(value))
    return _update(kind, learner, value, gradient)


def _opening(kind, problem, target, key, number, t):
    """(parameters of start, of module 0) -> (loss, (carry, context))."""
    problem = with_fresh_keys(problem, key, number + t)

    def local(start, theta):
        state, context = kind.model.start(start, problem)
        value, state = _module(kind, 0, state, context, target)(theta)
        return value, (state, context)

    return local


def _module(kind, m, state, context, target):
    """Parameters of module m -> (loss, carry)."""
    indices = m * kind.n + jnp.arange(kind.n)
    return lambda theta: local_loss(kind.model, kind.loss, theta, state, context, target, indices)


def _update(kind, learner, value, gradient, g_start=None):
    """(learner, report) after a module's update."""
    own = report(value, g_start, gradient)
    return learn(kind.tx.update, learner, conjugated(gradient), jnp.any(own.nonfinite), kind.ema_decay), own


def _update_first(kind, start, learner, value, gradients):
    g_start, gradient = gradients
    learner, own = _update(kind, learner, value, gradient, g_start)
    start = learn(kind.start_tx.update, start, conjugated(g_start), jnp.any(own.nonfinite), kind.ema_decay)
    return start, learner, own


def _split(tx: ModuleOptimizers, n: int, stacked: Learner) -> list[Learner]:
    """Learners of each module, of n steps, from those of a stage, (its steps, ...)."""
    n_modules = jax.tree.leaves(stacked.params)[0].shape[0] // n
    params, ema = (group_steps(tree, n_modules) for tree in (stacked.params, stacked.ema))
    grouped = Learner(params, tx.group(stacked.opt_state, params), ema)
    return [jax.tree.map(lambda a, j=j: a[j], grouped) for j in range(n_modules)]


def _merge(tx: ModuleOptimizers, learners: list[Learner]) -> Learner:
    """The inverse of `_split`."""
    grouped = jax.tree.map(lambda *a: jnp.stack(a), *learners)
    flat = lambda tree: jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
    return Learner(flat(grouped.params), tx.ungroup(grouped.opt_state, grouped.params), flat(grouped.ema))


class _Calls:
    """What is computed on a stage, jitted for its devices."""

    def __init__(self, stage: Stage, split: Callable, merge: Callable):
        whole, batch = stage.whole, stage.batch
        jit: Any = functools.partial(jax.jit, static_argnums=0)
        self.first = jit(_first, donate_argnums=(1, 2), out_shardings=(whole, whole, batch, batch, whole))
        self.later = jit(_later, donate_argnums=1, out_shardings=(whole, batch, whole))
        # the tape of a forward pass may hold the very arrays of the learner, which cannot be donated then
        self.first_forward = jit(_first_forward, out_shardings=(None, batch, batch))
        self.first_backward = jit(_first_backward, out_shardings=whole)
        self.forward = jit(_forward, out_shardings=(None, batch))
        self.backward = jit(_backward, out_shardings=whole)
        self.split = jax.jit(split, out_shardings=whole)
        self.merge = jax.jit(merge, out_shardings=whole)


@jax.jit
def _nth(stack, t):
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, t, keepdims=False), stack)


@jax.jit
def _stack_metrics(reports):
    """Metrics (batch, ...) from lists of reports, over mini-batches and within them over modules."""
    stack = lambda parts: jax.tree.map(lambda *a: jnp.stack(a), *parts)
    return jax.vmap(metrics_of)(stack([stack(own) for own in reports]))
