import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import random_variables

from jaxrecon import nn


@pytest.mark.parametrize("first", [True, False])
def test_resnet_written_out(rng, first):
    """Order of activation and convolution, paddings, shortcut and global residual."""
    net = nn.ResNet(3, blocks=2, padding="edge", activation_first=first)
    x = jnp.array(rng.standard_normal((7, 6, 2)), jnp.float32)
    variables = random_variables(net, x)

    @jax.jit
    def written_out(params, x):
        def branch(h, block):
            for j in range(2):
                kernel = params[block][f"conv_{j}"]["kernel"]
                act = lambda a: jnp.maximum(a, 0)
                h = nn.conv(act(h), kernel, padding="edge") if first else act(nn.conv(h, kernel, padding="edge"))
            return h

        shortcut = params["block_0"]["shortcut"]
        h = branch(x, "block_0") + x @ shortcut["kernel"][0, 0] + shortcut["bias"][None, None]
        h = branch(h, "block_1") + h
        return nn.conv(h, params["out"]["kernel"]) + params["out"]["bias"][None, None] + x

    np.testing.assert_allclose(jax.jit(net.apply)(variables, x), written_out(variables["params"], x), atol=1e-5)


def test_batch_norm_over_a_mapped_batch(rng):
    """Statistics of all examples; the moving variance takes the unbiased one."""
    x = jnp.array(2 + 3 * rng.standard_normal((4, 5, 6, 2)), jnp.float32)
    layer = nn.BatchNorm(frozen=False, batch_axis="examples")
    variables = jax.jit(layer.lazy_init)(jax.random.key(0), x[0])
    apply = lambda x: layer.apply(variables, x, mutable=["batch_stats"])
    y, updated = jax.jit(jax.vmap(apply, axis_name="examples"))(x)
    x = np.asarray(x)
    mean, var = np.mean(x, (0, 1, 2)), np.var(x, (0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-3), atol=1e-5)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], np.tile(0.01 * mean, (4, 1)), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], np.tile(0.99 + 0.01 * var * 120 / 119, (4, 1)), rtol=1e-5)
    # one example alone is its own batch
    alone, _ = jax.jit(apply)(x[0])
    np.testing.assert_allclose(np.mean(alone, (0, 1)), 0, atol=1e-5)


def test_batch_norm_frozen(rng):
    x = jnp.array(rng.standard_normal((5, 6, 2)), jnp.float32)
    params = {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([0.5, -1.0])}
    stats = {"mean": jnp.array([0.1, 0.2]), "var": jnp.array([4.0, 0.25])}
    variables = {"params": params, "batch_stats": stats}
    apply = lambda variables, x: nn.BatchNorm(frozen=True).apply(variables, x, mutable=["batch_stats"])
    y, updated = jax.jit(apply)(variables, x)
    scale, mean, var = (np.asarray(a) for a in (params["scale"], stats["mean"], stats["var"]))
    expected = scale * (np.asarray(x) - mean) / np.sqrt(var + 1e-3) + np.array([0.5, -1.0])
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_array_equal(updated["batch_stats"]["mean"], stats["mean"])
