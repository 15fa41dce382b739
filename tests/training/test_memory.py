"""Memory from the compiler alone: strategies in their order, refusals, no data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toy_run import toy

from jaxrecon.models import MODL_2D_GLEAM, PGDConfig, modl, pgd
from jaxrecon.operators import CartesianSense
from jaxrecon.problem import Problem, Target
from jaxrecon.strategies import checkpointed, end_to_end, gleam, invertible
from jaxrecon.training import compiled_memory, format_memory, losses, memory_report, optimizers

N, SIZE = 6, 128


def shapes():
    def array(*shape, dtype=jnp.complex64):
        return jax.ShapeDtypeStruct(shape, dtype)

    op = CartesianSense(array(1, 2, SIZE, SIZE), array(1, 1, SIZE, dtype=jnp.float32))
    return Problem(array(1, 2, SIZE, SIZE), op), Target(array(1, SIZE, SIZE))


def test_strategies_differ_as_they_should_and_nothing_is_computed():
    problem, target = shapes()
    report = memory_report(toy(n_steps=N), losses.complex_l1, optax.adam(1e-3), problem, target)
    rows = {row.name: row for row in report}
    assert next(iter(rows)) == "end_to_end, Python loop"
    temporary = {name: row.memory.temporary for name, row in rows.items() if row.memory}
    image = 8 * SIZE**2
    # N steps keep their input image at least; a module only its own
    assert temporary["end_to_end"] > N * image
    assert temporary[f"gleam, {N} modules"] < temporary["end_to_end"] / 1.5
    assert temporary["checkpointed"] < temporary["end_to_end"]
    assert rows["invertible"].memory is None and "inverse" in rows["invertible"].reason
    text = format_memory(list(rows.values()))
    assert len(text.splitlines()) == len(rows) + 1 and "cannot be" in text


def test_shared_weights_are_refused_by_gleam_with_a_reason():
    problem, target = shapes()
    model = toy(n_steps=2, shared=True)
    rows = memory_report(model, losses.mse, optax.adam(1e-3), problem, target, strategies={"mine": gleam(1)})
    assert "separate weights" in rows[-1].reason


def test_memory_of_a_plain_function_counts_arguments_and_outputs():
    def f(x):
        return x @ x

    plan = compiled_memory(f, np.zeros((64, 64), np.float32))
    assert plan.arguments == plan.outputs == 4 * 64**2
    assert plan.total >= plan.arguments + plan.outputs
    rows = memory_report(
        toy(n_steps=2), losses.complex_l1, optax.sgd(1.0), *shapes(), strategies={"mine": end_to_end()}
    )
    assert [row.name for row in rows] == ["mine"] and rows[0].memory.temporary > 0


PAPERS = {
    # how many times the Python loop from end to end is larger than each strategy, at least
    "modl": (modl(MODL_2D_GLEAM), {"checkpointed": 6.0, "invertible": 6.0, "gleam": 6.8}),
    "pgd": (pgd(PGDConfig()), {"checkpointed": 4.5, "gleam": 5.6}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_ratios_at_full_size(name):
    """GLEAM's networks on mridata: batch 4, 320 x 256, 8 coils, N = 8; compiled only."""
    model, least = PAPERS[name]
    strategies = {
        "loop": end_to_end(loop=True),
        "checkpointed": checkpointed(),
        "invertible": invertible(0),
        "gleam": gleam(model.n_steps),
    }
    strategies = {name: strategy for name, strategy in strategies.items() if name in {"loop", *least}}

    def batch():
        kspace, image = jnp.zeros((4, 8, 320, 256), jnp.complex64), jnp.zeros((4, 320, 256), jnp.complex64)
        return Problem(kspace, CartesianSense(kspace, jnp.zeros((4, 320, 256)))), Target(image)

    tx = optimizers.GleamAdam().build()
    report = memory_report(model, losses.complex_l1, tx, *jax.eval_shape(batch), strategies=strategies)
    temporary = {row.name: row.memory.temporary for row in report}
    ratios = {name: temporary["loop"] / temporary[name] for name in least}
    assert all(ratios[name] >= bound for name, bound in least.items()), ratios


def test_a_fault_is_no_refusal():
    """Only what a strategy says to a user stands in the table."""

    def broken(model, loss):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        memory_report(toy(n_steps=2), losses.mse, optax.sgd(1.0), *shapes(), strategies={"mine": broken})
