import jax
import jax.numpy as jnp
import numpy as np

from jaxrecon import nn

NET = nn.PromptUnet(4, (5, 6), (4, 4), (2, 2), (6, 3), (1, 1), (1, 1), (0, 1), 1, n_history=2)
SLOPE = jnp.float32(0.2)


def random_params(net, *args):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), *args))
    return jax.tree.map(lambda a: 0.3 * jnp.asarray(rng.standard_normal(a.shape), a.dtype), shapes)


def test_upsampling_is_bilinear(rng):
    x = jnp.asarray(rng.standard_normal((2, 5, 4, 3)), jnp.float32)
    expected = jax.image.resize(x, (2, 10, 8, 3), "bilinear")
    np.testing.assert_allclose(nn.upsample_2x(x), expected, atol=1e-6)
    np.testing.assert_allclose(nn.upsample_2x(x[0]), expected[0], atol=1e-6)


def test_history_holds_the_newest_first(rng):
    """Three passes: the present fills the places of the past at first, then each pass drops the oldest."""
    x = jnp.asarray(rng.standard_normal((3, 8, 12, 2)), jnp.float32)
    history = NET.empty_history(8, 12, jnp.float32)
    assert [h.shape for h in history] == [(2, 3, 12), (4, 6, 10)]
    params = random_params(NET, x[0], SLOPE, history, True)
    apply = jax.jit(NET.apply)
    seen = []
    for i in range(3):
        _, history = apply(params, x[i], SLOPE, history, i == 0)
        seen.append(history)
    for (first, second, third), n in zip(zip(*seen, strict=True), (6, 5), strict=True):
        np.testing.assert_array_equal(first[..., :n], first[..., n:])
        np.testing.assert_array_equal(second[..., n:], first[..., :n])
        np.testing.assert_array_equal(third[..., n:], second[..., :n])
        assert np.abs(third[..., :n] - second[..., :n]).max() > 1e-4


def test_leading_axes_are_examples(rng):
    """Each with statistics of its own; a constant example is handed through the normalisation without NaN."""
    net = nn.NormPromptUnet(nn.PromptUnet(4, (5,), (4,), (2,), (3,), (1,), (1,), (1,), 0))
    x = jnp.asarray(rng.standard_normal((3, 2, 7, 9)) * np.array([1, 100, 0])[:, None, None, None], jnp.complex64)
    params = random_params(net, x, SLOPE)
    apply = jax.jit(lambda x: net.apply(params, x, SLOPE)[0])
    together = apply(x)
    for i in range(3):
        np.testing.assert_allclose(together[i], apply(x[i]), rtol=1e-4, atol=1e-4)
    assert not together[2].any()


def test_prompts_are_resized_without_antialiasing():
    """A prompt of 4 x 4 on a level of 2 x 2: the mean of the two middle pixels along each axis."""
    net = nn.PromptBlock(1, 1, 4)
    x = jnp.ones((2, 2, 3))
    params = random_params(net, x)
    params["params"]["conv"]["kernel"] = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    prompt = params["params"]["prompt"][0, ..., 0]
    pairs = prompt.reshape(2, 2, 2, 2).mean((1, 3))
    np.testing.assert_allclose(net.apply(params, x)[..., 0], pairs, atol=1e-6)
