"""One abstraction for every unrolled network: start, then n_steps times step, then finish.

Models say what is computed (here), strategies say how its gradient is obtained (jaxrecon.strategies), operators are data.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .. import struct
from ..checks import UserError, check_choices, check_sizes
from ..problem import Problem
from ..trees import check_frozen, is_named, leaf_name
from ..typing import Key

Params = Any
Carry = Any
Context = Any
Reconstruction = jax.Array

BATCH_AXIS = "batch"
"""The name of the axis that `batched` maps over, for steps that look at the whole batch (batch norm, joint CG)."""


@dataclasses.dataclass(frozen=True)
class Wants:
    """What a network wants of its problem and of its training: stated by its builder, who knows; all others ask it here.

    Attributes:
      maps: "given": the problem's operator has coil maps; "estimated": the network estimates them from the calibration
        region (`Problem.acs`), and sees nothing without one; "none": neither needs to be there.
      input: "slice": k-space (coil, y, x); "window": (adjacent, coil, y, x), neighbouring slices or frames, of which the
        middle one is reconstructed; "series": (frame, coil, y, x), all frames of which are reconstructed at once.
      window: how many slices a "window" has, an odd number; 1 for other inputs.
      encoding: "any": forward, adjoint and normal of the operator suffice; "cartesian": it must have a mask of k-space.
      image: "complex", or a "magnitude" without a phase.
      steps_per_module: steps that a module of gleam needs, or more, for all of its weights to learn.
      example_size: pixels, along y and along x, of an image that the network takes: parameters do not depend on it.
      uses_index: whether `step` looks at the number i of its step. False is a promise, which `init` holds it to.

    Raises:
      ValueError: values that are none of these.
    """

    maps: Literal["given", "estimated", "none"] = "given"
    input: Literal["slice", "window", "series"] = "slice"
    window: int = 1
    encoding: Literal["any", "cartesian"] = "any"
    image: Literal["complex", "magnitude"] = "complex"
    steps_per_module: int = 1
    example_size: int = 64
    uses_index: bool = True

    def __post_init__(self):
        check_choices(self)
        check_sizes(1, steps_per_module=self.steps_per_module, example_size=self.example_size)
        if self.window < 1 or self.window % 2 == 0 or (self.window > 1 and self.input != "window"):
            raise UserError(
                f"window must be odd and positive, and 1 unless input is 'window', not {self.window} of a {self.input}"
            )

    @property
    def n_adjacent(self) -> int | None:
        """How many slices a window has; None for other inputs, whose k-space has no such axis."""
        return self.window if self.input == "window" else None


@dataclasses.dataclass(frozen=True)
class Unrolled:
    """An unrolled network as plain functions, bundled as optax bundles init and update; static under jit.

    Parameters are a dict {"start": tree, "steps": tree}; with separate weights each leaf of "steps" has a leading axis of n_steps.
    The carry has the same structure, shapes and dtypes at each step; the context is constant over the steps. `finish` has no
    parameters, so that every step has a picture and a loss.

    Attributes:
      n_steps: number of steps N.
      shared: all steps have the same weights.
      init: (key, problem) -> params.
      start: (params["start"], problem) -> (carry, context).
      step: (theta, carry, context, i) -> carry; theta is ONE step's parameters, i a traced int32.
      finish: (carry, context) -> reconstruction, (y, x), (z, y, x) or (frame, y, x).
      inverse: (theta, carry, context, i) -> the carry before the step, for invertible learning; None where there is none.
      wants: what it has to be given, and what its images are.
      absorb: (params, carry) -> params with what the last carry of a training step holds for them, and no gradient moves:
        batch norm's moving averages. The carry has an example axis more for each `batched`. None: nothing rides there.
      frozen: the network to reconstruct with, where it is not this one, which trains: batch norm by its moving averages.
        It has the same parameters.
      untrained: patterns of the names of leaves that keep their values in training, as "*/prompt" or "start": see
        `with_untrained`.
      n_batch: leading example axes of the carry; `batched` adds one.
    """

    n_steps: int
    shared: bool
    init: Callable[[Key, Problem], Params]
    start: Callable[[Any, Problem], tuple[Carry, Context]]
    step: Callable[[Any, Carry, Context, jax.Array], Carry]
    finish: Callable[[Carry, Context], Reconstruction]
    inverse: Callable[[Any, Carry, Context, jax.Array], Carry] | None = None
    wants: Wants = Wants()
    absorb: Callable[[Params, Carry], Params] | None = None
    frozen: "Unrolled | None" = None
    untrained: tuple[str, ...] = ()
    n_batch: int = 0

    __repr__ = struct.shapes_repr


def unrolled(
    *,
    n_steps: int,
    shared: bool,
    init_step: Callable[[Key, Carry, Context], Any],
    start: Callable[[Any, Problem], tuple[Carry, Context]],
    step: Callable[[Any, Carry, Context, jax.Array], Carry],
    finish: Callable[[Carry, Context], Reconstruction],
    init_start: Callable[[Key, Problem], Any] | None = None,
    inverse: Callable[[Any, Carry, Context, jax.Array], Carry] | None = None,
    wants: Wants | None = None,
    absorb: Callable[[Params, Carry], Params] | None = None,
    frozen: Unrolled | None = None,
    untrained: tuple[str, ...] = (),
) -> Unrolled:
    """Build an Unrolled from its parts; `init` follows from the initialisation of one step, by vmap over n_steps keys.

    Args:
      n_steps: number of steps.
      shared: one set of weights for all steps.
      init_step: (key, carry, context) -> theta of one step.
      start: as in Unrolled.
      step: as in Unrolled.
      finish: as in Unrolled.
      init_start: (key, problem) -> parameters of `start`; None where it has none.
      inverse: as in Unrolled.
      wants: as in Unrolled; None: maps are given, images are complex: the defaults of Wants.
      absorb: as in Unrolled.
      frozen: as in Unrolled.
      untrained: as in Unrolled.

    Raises:
      ValueError: n_steps below 1; (in init) `step` looks at i although `wants` says that it does not; a problem of
        another encoding than it wants.

    Example:
      >>> model = unrolled(  # gradient descent on ||A x - y||^2 / 2 with a learned step size
      ...     n_steps=3,
      ...     shared=False,
      ...     init_step=lambda key, image, context: {"t": jnp.ones(())},
      ...     start=lambda _, problem: (problem.op.adjoint(problem.kspace), problem),
      ...     step=lambda theta, x, p, i: x - theta["t"] * p.op.adjoint(p.op.forward(x) - p.kspace),
      ...     finish=lambda image, _: image,
      ... )
      >>> problem = jr.Problem.from_numpy(np.ones((1, 4, 4), "complex64"))
      >>> params = jax.jit(model.init)(jax.random.key(0), problem)
      >>> image = jax.jit(run, static_argnums=0)(model, params, problem)
      >>> jax.tree.map(jnp.shape, params), image.shape
      ({'start': {}, 'steps': {'t': (3,)}}, (4, 4))
    """
    check_sizes(1, n_steps=n_steps)
    wants = Wants() if wants is None else wants
    promised = not wants.uses_index

    def checked_start(params, problem):
        _check_encoding(problem, wants)
        return start(params, problem)

    def init(key, problem):
        nonlocal promised
        _check_encoding(problem, wants)
        start_key, steps_key = jax.random.split(key)
        start_params = init_start(start_key, problem) if init_start else {}
        # shapes are enough to initialise: nothing of the forward model is computed
        carry, context = jax.eval_shape(start, start_params, problem)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (carry, context))
        one = lambda k: init_step(k, *zeros)
        if promised:
            _check_index(step, jax.eval_shape(one, steps_key), carry, context)
            promised = False  # once is enough: tracing takes its time
        steps = one(steps_key) if shared else jax.vmap(one)(jax.random.split(steps_key, n_steps))
        return {"start": start_params, "steps": steps}

    model = Unrolled(n_steps, shared, init, checked_start, step, finish, inverse, wants, absorb, frozen)
    return with_untrained(model, untrained)


def with_untrained(model: Unrolled, patterns: Sequence[str]) -> Unrolled:
    """The same network with leaves that keep their values in training, beside those that do so already.

    They have no gradient, and `absorb` leaves them alone. Strategies keep the optimizer off them by `Unrolled.untrained`:
    they have no part in weight decay, nor in a clipping norm.

    Args:
      model: the network.
      patterns: of the names of leaves, which begin with "start/" or "steps/", or of folders of them: "start" is all of it.

    Raises:
      ValueError: (in init) a pattern that names nothing, and the names that there are; or all is named.

    Example:
      >>> model = jr.models.build(jr.models.PGDConfig(n_steps=2, features=2, blocks=1))
      >>> with_untrained(model, ["steps/net/params/block_0"]).untrained
      ('steps/net/params/block_0',)
    """
    patterns = tuple(patterns)
    if not patterns:
        return model

    def init(key, problem):
        params = model.init(key, problem)
        check_frozen(params, patterns)
        return params

    def keep(part, tree):
        def one(path, leaf):
            return jax.lax.stop_gradient(leaf) if is_named(f"{part}/{leaf_name(path)}", patterns) else leaf

        return jax.tree_util.tree_map_with_path(one, tree)

    def absorb(params, carry):
        assert model.absorb is not None  # else it is not handed on
        choose = lambda path, old, new: old if is_named(leaf_name(path), patterns) else new
        return jax.tree_util.tree_map_with_path(choose, params, model.absorb(params, carry))

    return dataclasses.replace(
        model,
        init=init,
        start=lambda params, problem: model.start(keep("start", params), problem),
        step=lambda theta, carry, context, i: model.step(keep("steps", theta), carry, context, i),
        absorb=absorb if model.absorb else None,
        untrained=(*model.untrained, *patterns),
    )


def _check_encoding(problem, wants):
    """Raise ValueError unless a problem has an encoding with a mask, where a network wants one."""
    if wants.encoding == "cartesian" and not hasattr(getattr(problem.op, "encoding", None), "mask"):
        raise UserError(
            "this network works on the grid of k-space: it needs a Cartesian problem, whose encoding has a mask; networks of "
            "images, as modl and pgd, take any other"
        )


def _check_index(step, theta, carry, context):
    """Raise ValueError where the result of a step depends on i: the step is traced, nothing is computed."""
    traced = jax.make_jaxpr(step)(theta, carry, context, jax.ShapeDtypeStruct((), jnp.int32)).jaxpr
    needed = {id(out) for out in traced.outvars}
    for equation in reversed(traced.eqns):
        if any(id(out) in needed for out in equation.outvars):
            needed |= {id(operand) for operand in equation.invars}
    if id(traced.invars[-1]) in needed:
        raise UserError("this network says that its step does not use i (Wants.uses_index=False), but the step does")


def run(
    model: Unrolled,
    params: Params,
    problem: Problem | tuple[Problem, Any],  # the second where `deep_supervision` calls: its model takes the target too
    *,
    n_steps: int | None = None,
    every_step: bool = False,
    loop: bool = False,
    carry: bool = False,
) -> Any:
    """Reconstruct: start, the steps under lax.scan, finish.

    Args:
      model: the network.
      params: its parameters.
      problem: one problem, or a batch of them for a model made by `batched`.
      n_steps: fewer than model.n_steps is early exit; shared weights may also run longer.
      every_step: stack the reconstructions after each step, (step, ...).
      loop: a Python loop in place of the scan: the same numbers, other memory and compile time.
      carry: return (reconstruction, last carry, context), e.g. to look at estimated maps.

    Returns:
      The reconstruction, or as `every_step` and `carry` say.

    Raises:
      ValueError: more steps than there are weights.
    """
    n_steps = model.n_steps if n_steps is None else n_steps
    if n_steps < 1 or (n_steps > model.n_steps and not model.shared):
        raise UserError(f"n_steps must be within 1 and the model's {model.n_steps} steps, not {n_steps}")
    state, context = model.start(params["start"], problem)  # type: ignore[arg-type]
    state, pictures = iterate_steps(
        model,
        params["steps"] if model.shared else jax.tree.map(lambda a: a[:n_steps], params["steps"]),
        state,
        context,
        indices=jnp.arange(n_steps),
        every_step=every_step,
        loop=loop,
    )
    out = pictures if every_step else model.finish(state, context)
    return (out, state, context) if carry else out


def iterate_steps(
    model: Unrolled,
    steps: Any,
    state: Carry,
    context: Context,
    *,
    indices: jax.Array,
    every_step: bool = False,
    loop: bool = False,
    wrap: Callable[[Callable], Callable] = lambda step: step,
) -> tuple[Carry, Any]:
    """Run the steps `indices` from a carry; the one loop that `run` and all strategies share.

    Args:
      model: the network.
      steps: parameters of exactly these steps (leading axis len(indices)), or the shared ones.
      state: the carry before the first of them.
      context: the context.
      indices: (step,) int32, their numbers i.
      every_step: also stack finish after each step.
      loop: a Python loop in place of lax.scan.
      wrap: applied to the step function, e.g. jax.checkpoint.

    Returns:
      (carry after the last, stacked reconstructions or None).
    """
    step = wrap(model.step)

    def body(state, scanned):
        i, theta = scanned
        state = step(steps if model.shared else theta, state, context, i)
        return state, (model.finish(state, context) if every_step else None)

    scanned = (indices, None if model.shared else steps)
    if not loop:
        return jax.lax.scan(body, state, scanned)
    pictures = []
    for n in range(len(indices)):
        state, picture = body(state, jax.tree.map(lambda a, n=n: a[n], scanned))
        pictures.append(picture)
    return state, (jnp.stack(pictures) if every_step else None)


def batched(model: Unrolled) -> Unrolled:
    """The same network over a leading axis of problems (made by `stack_problems`); parameters are not mapped.

    Example:
      >>> model = jr.models.unrolled(
      ...     n_steps=1,
      ...     shared=True,
      ...     init_step=lambda key, x, _: {},
      ...     start=lambda _, problem: (problem.op.adjoint(problem.kspace), None),
      ...     step=lambda theta, x, _, i: 2 * x,
      ...     finish=lambda x, _: x,
      ... )
      >>> problems = stack_problems([jr.Problem.from_numpy(np.ones((1, 4, 4), "complex64"))] * 3)
      >>> jax.jit(run, static_argnums=0)(batched(model), {"start": {}, "steps": {}}, problems).shape
      (3, 4, 4)
    """
    return dataclasses.replace(
        model,
        init=lambda key, problems: model.init(key, jax.tree.map(lambda a: a[0], problems)),
        start=jax.vmap(model.start, (None, 0), axis_name=BATCH_AXIS),
        step=jax.vmap(model.step, (None, 0, 0, None), axis_name=BATCH_AXIS),
        finish=jax.vmap(model.finish),
        inverse=model.inverse and jax.vmap(model.inverse, (None, 0, 0, None)),
        frozen=model.frozen and batched(model.frozen),
        n_batch=model.n_batch + 1,
    )


def stack_steps(steps: Sequence[Any]) -> Any:
    """[theta_0, theta_1, ...] to one tree with a leading step axis, as imported weights are stacked."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def unstack_steps(steps: Any) -> list[Any]:
    """The inverse of `stack_steps`."""
    n_steps = jax.tree.leaves(steps)[0].shape[0]
    return [jax.tree.map(lambda a, i=i: a[i], steps) for i in range(n_steps)]


def stack_problems(problems: Sequence[Any]) -> Any:
    """Problems (or targets) of equal shapes to a batch: a leading axis on each leaf."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
