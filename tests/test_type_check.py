"""The suite's type check is on: what a signature rules out is refused, eagerly and while jax traces."""

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError
from support.type_check import as_user

from jaxrecon.coils import whiten
from jaxrecon.complex_ops import from_channels, to_channels
from jaxrecon.operators import CartesianSense

CALLS = {
    "eager": lambda function, *arrays: function(*arrays),
    "jit": lambda function, *arrays: jax.jit(function)(*arrays),
    "vmap": lambda function, *arrays: jax.vmap(function)(*(a[None] for a in arrays)),
}
WRONG = {
    "rank": (from_channels, jnp.ones(())),
    "size": (from_channels, jnp.ones((5, 3))),
    "dtype": (to_channels, jnp.ones(5)),
    "sizes that differ": (whiten, jnp.ones((3, 5), jnp.complex64), jnp.ones((4, 4), jnp.complex64)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("function", "arrays"), [(f, arrays) for f, *arrays in WRONG.values()], ids=WRONG)
def test_a_wrong_array_is_refused(function, arrays, call):
    with pytest.raises(TypeCheckError, match=function.__qualname__):
        call(function, *arrays)


def test_a_pytree_may_hold_anything():
    """jax rebuilds operators with axes of vmap, shapes or shardings in the place of arrays."""
    op = CartesianSense(jnp.ones((3, 5, 4), jnp.complex64))
    assert jax.eval_shape(lambda: op).maps.shape == (3, 5, 4)
    assert jax.tree.map(jnp.ndim, op).maps == 3


def test_as_user_lifts_it():
    with as_user(), pytest.raises(ValueError, match="same coils"):
        whiten(jnp.ones((3, 5), jnp.complex64), jnp.ones((4, 4), jnp.complex64))
