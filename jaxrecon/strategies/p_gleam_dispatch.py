"""P-GLEAM by dispatch: one jitted step for each module on its own device, from a host that does not wait."""

import collections
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..models.unrolled import Unrolled
from .devices import Stage, join, put, stages_of, view
from .modules import (
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
from .types import Loss, group_steps
from .update import TrainState, conjugated, with_fresh_keys


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
    functions = _Functions(model, losses, tx, ema_decay)
    calls = [_Calls(functions, stage) for stage in stages]
    run = _algorithm2 if schedule == "algorithm2" else _pipeline
    # so many mini-batches keep all devices busy; with more on their way the inputs that wait would fill the memory
    in_flight: collections.deque = collections.deque()

    def step(state, problems, targets):
        start, learners = take_apart(state)
        reports, n_batches = [], problems.kspace.shape[0]
        key, number = view((state.key, state.step), stages[0])
        for t in range(n_batches):
            batch = (*put(_nth((problems, targets), t), stages[0].batch), key, number, t)
            start, own = run(calls, stages, owner, start, learners, batch)
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


def _pipeline(calls, stages, owner, start, learners, batch):
    """One mini-batch through all modules, each trained as it comes by; nothing waits."""
    start, learners[0], state, context, own = calls[0].first(start, learners[0], *batch)
    reports, target = [own], batch[1]
    for m in range(1, len(learners)):
        if owner[m] != owner[m - 1]:
            state, context, target = put((state, context, target), stages[owner[m]].batch)
        call = calls[owner[m]]
        learners[m], state, own = call.later(learners[m], state, context, target, m, call.like(m))
        reports.append(own)
    return start, reports


def _algorithm2(calls, stages, owner, start, learners, batch):
    """One mini-batch in blocks of D modules: the forward passes from device to device, then the backward passes at once."""
    n_stages, reports = len(stages), []
    inputs = {}  # context and target, on each device that had them
    for block in range(0, len(learners), n_stages):
        tapes = []
        for m in range(block, block + n_stages):
            call = calls[owner[m]]
            if m == 0:
                tape, state, context = call.first_forward(start.params, learners[0].params, *batch)
                inputs[0] = (context, batch[1])
            else:
                state = put(state, stages[owner[m]].batch)
                if owner[m] not in inputs:
                    inputs[owner[m]] = put(inputs[owner[m - 1]], stages[owner[m]].batch)
                tape, state = call.forward(learners[m].params, state, *inputs[owner[m]], m, call.like(m))
            tapes.append(tape)
        for m, tape in zip(range(block, block + n_stages), tapes, strict=True):
            call = calls[owner[m]]
            if m == 0:
                start, learners[0], own = call.first_backward(tape, start, learners[0])
            else:
                learners[m], own = call.backward(tape, learners[m], call.like(m))
            reports.append(own)
    return start, reports


class _Functions:
    """What is computed on a stage, traced once for all of them."""

    def __init__(self, model: Unrolled, losses: Sequence[Loss], tx: ModuleOptimizers, ema_decay: float | None):
        self.model, self.losses, self.tx, self.ema_decay = model, losses, tx, ema_decay
        self.n = model.n_steps // tx.n_modules
        self._kinds = list(zip(losses, tx.all, strict=True))
        # bound once: jax.jit takes every new bound method for another function, and traces it again
        for name in ("first", "later", "first_forward", "first_backward", "forward", "backward", "split", "merge"):
            setattr(self, name, getattr(self, name))

    def like(self, m):
        """The first module with the loss and the optimizer of module m: what is compiled for it serves both."""
        return self._kinds.index(self._kinds[m])

    def first(self, start, learner, problem, target, key, number, t):
        """Module 0, with `start`."""
        local = self._opening(problem, target, key, number, t)
        (value, outputs), gradients = jax.value_and_grad(local, (0, 1), has_aux=True)(start.params, learner.params)
        start, learner, own = self._update_first(start, learner, value, gradients)
        return start, learner, *outputs, own

    def later(self, learner, state, context, target, m, like):
        """Module m, of whose number only `like` is known when it is compiled."""
        local = self._module(m, like, state, context, target)
        (value, state), gradient = jax.value_and_grad(local, has_aux=True)(learner.params)
        own = report(value, {}, gradient)
        return self._update(learner, gradient, own, like), state, own

    def first_forward(self, start, theta, problem, target, key, number, t):
        local = self._opening(problem, target, key, number, t)
        value, pull, (state, context) = jax.vjp(local, start, theta, has_aux=True)
        return (value, pull), state, context

    def first_backward(self, tape, start, learner):
        value, pull = tape
        return self._update_first(start, learner, value, pull(jnp.ones_like(value)))

    def forward(self, theta, state, context, target, m, like):
        value, pull, state = jax.vjp(self._module(m, like, state, context, target), theta, has_aux=True)
        return (value, pull), state

    def backward(self, tape, learner, like):
        value, pull = tape
        (gradient,) = pull(jnp.ones_like(value))
        own = report(value, {}, gradient)
        return self._update(learner, gradient, own, like), own

    def split(self, stacked):
        """Learners of each module from those of a stage, (its steps, ...)."""
        n_modules = jax.tree.leaves(stacked.params)[0].shape[0] // self.n
        params, ema = (group_steps(tree, n_modules) for tree in (stacked.params, stacked.ema))
        grouped = Learner(params, self.tx.group(stacked.opt_state, params), ema)
        return [jax.tree.map(lambda a, j=j: a[j], grouped) for j in range(n_modules)]

    def merge(self, learners):
        """The inverse of `split`."""
        grouped = jax.tree.map(lambda *a: jnp.stack(a), *learners)
        flat = lambda tree: jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), tree)
        return Learner(flat(grouped.params), self.tx.ungroup(grouped.opt_state, grouped.params), flat(grouped.ema))

    def _module(self, m, like, state, context, target):
        loss, indices = choose(self.losses, like), m * self.n + jnp.arange(self.n)
        return lambda theta: local_loss(self.model, loss, theta, state, context, target, indices)

    def _opening(self, problem, target, key, number, t):
        problem = with_fresh_keys(problem, key, number + t)

        def local(start, theta):
            state, context = self.model.start(start, problem)
            value, state = self._module(0, 0, state, context, target)(theta)
            return value, (state, context)

        return local

    def _update(self, learner, gradient, own, like):
        update = lambda g, state, theta: self.tx.update_module(g, state, theta, like)
        return learn(update, learner, conjugated(gradient), jnp.any(own.nonfinite), self.ema_decay)

    def _update_first(self, start, learner, value, gradients):
        own = report(value, *gradients)
        start_gradient, bad = conjugated(gradients[0]), jnp.any(own.nonfinite)
        start = learn(self.tx.start.update, start, start_gradient, bad, self.ema_decay)
        return start, self._update(learner, gradients[1], own, 0), own


class _Calls:
    """The functions, jitted for the devices of one stage."""

    def __init__(self, functions: _Functions, stage: Stage):
        whole, batch = stage.whole, stage.batch
        outputs = (whole, whole, batch, batch, whole)
        self.like = functions.like
        self.first = jax.jit(functions.first, donate_argnums=(0, 1), out_shardings=outputs)
        self.later = jax.jit(functions.later, donate_argnums=0, static_argnums=5, out_shardings=(whole, batch, whole))
        # the tape of a forward pass may hold the very arrays of the learner, which cannot be donated then
        self.first_forward = jax.jit(functions.first_forward, out_shardings=(None, batch, batch))
        self.first_backward = jax.jit(functions.first_backward, out_shardings=whole)
        self.forward = jax.jit(functions.forward, static_argnums=5, out_shardings=(None, batch))
        self.backward = jax.jit(functions.backward, static_argnums=2, out_shardings=whole)
        self.split = jax.jit(functions.split, out_shardings=whole)
        self.merge = jax.jit(functions.merge, out_shardings=whole)


@jax.jit
def _nth(stack, t):
    return jax.tree.map(lambda a: jax.lax.dynamic_index_in_dim(a, t, keepdims=False), stack)


@jax.jit
def _stack_metrics(reports):
    """Metrics (batch, ...) from lists of reports, over mini-batches and within them over modules."""
    stack = lambda parts: jax.tree.map(lambda *a: jnp.stack(a), *parts)
    return jax.vmap(metrics_of)(stack([stack(own) for own in reports]))
