"""Memory of a training step as the compiler plans it, before there are data: for every strategy, or why not."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from ..checks import UserError
from ..models import Unrolled, batched
from ..problem import Problem, Target
from ..strategies import Loss, Strategy, checkpointed, deep_supervision, end_to_end, gleam, invertible
from ..strategies.update import Update, UpdateStrategy, from_grad_fn


class Memory(NamedTuple):
    """Bytes of a compiled function.

    Attributes:
      temporary: intermediate results at their peak: what strategies differ in.
      arguments: inputs: weights, optimizer, data.
      outputs: results that do not take the place of donated arguments.
    """

    temporary: int
    arguments: int
    outputs: int

    @property
    def total(self) -> int:
        """All of it; workspace of FFT and convolution libraries comes on top."""
        return self.temporary + self.arguments + self.outputs


class Row(NamedTuple):
    """One line of `memory_report`.

    Attributes:
      name: name of the strategy.
      memory: the memory of one training step, or None where the pair is not admissible.
      reason: why it is not, else "".
    """

    name: str
    memory: Memory | None
    reason: str = ""


def compiled_memory(fn: Callable, *args: Any) -> Memory:
    """Compile a function for the shapes of its arguments and read what memory it plans; nothing is computed.

    Args:
      fn: an Update, a GradFn, or any function; a jitted one keeps its donations.
      *args: its arguments: arrays, or ShapeDtypeStructs as `jax.eval_shape` gives them; trees of these.

    Returns:
      Memory, in bytes.

    Raises:
      ValueError: the compiler of this device does not say.

    Example:
      >>> compiled_memory(lambda x: x + 1, jax.ShapeDtypeStruct((256,), "float32")).arguments
      1024
    """
    if isinstance(fn, Update):
        fn = fn.step
    jitted = fn if hasattr(fn, "lower") else jax.jit(fn)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    plan = jitted.lower(*abstract).compile().memory_analysis()
    if plan is None:
        raise UserError(f"the compiler for {jax.default_backend()} does not tell its memory")
    outputs = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return Memory(plan.temp_size_in_bytes, plan.argument_size_in_bytes, max(outputs, 0))


def standard_strategies(model: Unrolled, *, n_modules: int | None = None) -> "dict[str, Strategy]":
    """The strategies that any model can be asked for; the first, the baseline, is a loop as most would write it.

    Args:
      model: the network.
      n_modules: number of modules for gleam; None: one per step.
    """
    n_modules = model.n_steps if n_modules is None else n_modules
    return {
        "end_to_end, Python loop": end_to_end(loop=True),
        "end_to_end": end_to_end(),
        "checkpointed": checkpointed(),
        "invertible": invertible(),
        "invertible, all steps": invertible(0),
        f"gleam, {n_modules} modules": gleam(n_modules),
        "deep_supervision": deep_supervision([1 / model.n_steps] * model.n_steps),
    }


def memory_report(
    model: Unrolled,
    loss: "Loss",
    tx: optax.GradientTransformation,
    problem: Problem,
    target: Target,
    *,
    strategies: "Mapping[str, Strategy | UpdateStrategy] | None" = None,
) -> list[Row]:
    """Memory of one training step under every strategy, compile only: the whole step with optimizer and donation.

    Args:
      model: one example at a time, not batched.
      loss: over a batch.
      tx: the optimizer; update strategies have their own.
      problem: a batch, arrays or ShapeDtypeStructs.
      target: a batch of its targets, likewise.
      strategies: strategies by name; None: `standard_strategies`, then ratios to the first row are to the Python-loop baseline.

    Returns:
      One Row per strategy, in order.
    """
    model = batched(model)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(model.init, key, problem)
    rows = []
    for name, strategy in (standard_strategies(model) if strategies is None else strategies).items():
        try:
            made = strategy(model, loss)
            update = (
                made
                if isinstance(made, Update)
                else from_grad_fn(made, tx, absorb=model.absorb, untrained=model.untrained)
            )
            state = jax.eval_shape(update.init, params, key)
            rows.append(Row(name, compiled_memory(update, state, problem, target)))
        except UserError as error:
            # strategies refuse models by an error that says why; any other is a fault, and not for this table
            rows.append(Row(name, None, str(error)))
    return rows


def carry_bytes(model: Unrolled, problem: Problem) -> dict[str, int]:
    """Bytes of the carry between two steps by its parts: what checkpoints keep of each step, and p_gleam hands on.

    Args:
      model: one example at a time, not batched.
      problem: a batch, arrays or ShapeDtypeStructs.

    Returns:
      part -> bytes; {"carry": bytes} for a carry without named parts.
    """
    model = batched(model)
    params = jax.eval_shape(model.init, jax.eval_shape(jax.random.key, 0), problem)
    carry, _ = jax.eval_shape(model.start, params["start"], problem)
    parts = carry if isinstance(carry, dict) else {"carry": carry}
    leaves = {name: jax.tree.leaves(part) for name, part in parts.items()}
    return {name: sum(a.size * a.dtype.itemsize for a in part) for name, part in leaves.items() if part}


def format_memory(rows: list[Row]) -> str:
    """The report as a table of text: MiB of temporaries, their ratio to the first row, and all bytes."""
    baseline = next((row.memory.temporary for row in rows if row.memory), 1)
    width = max(len(row.name) for row in rows)
    lines = [f"{'strategy':<{width}}  temporary MiB  baseline is x larger  total MiB"]
    for name, memory, reason in rows:
        if memory is None:
            lines.append(f"{name:<{width}}  cannot be: {reason}")
        else:
            ratio = baseline / max(memory.temporary, 1)
            lines.append(
                f"{name:<{width}}  {memory.temporary / 2**20:13.1f}  {ratio:20.2f}  {memory.total / 2**20:9.1f}"
            )
    return "\n".join(lines)
