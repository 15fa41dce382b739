import jax
import jax.numpy as jnp
import numpy as np
from support.problems import random_variables

from jaxrecon import nn

NET = nn.PromptUnet(4, (5, 6), (4, 4), (2, 2), (6, 3), (1, 1), (1, 1), (0, 1), 1, n_history=2)
SLOPE = jnp.float32(0.2)


def test_upsampling_is_bilinear(rng):
    x = jnp.array(rng.standard_normal((2, 5, 4, 3)), jnp.float32)
    resize = lambda x: jax.image.resize(x, (2, 10, 8, 3), "bilinear")
    of_two, of_one, expected = jax.jit(lambda x: (nn.upsample_2x(x), nn.upsample_2x(x[0]), resize(x)))(x)
    np.testing.assert_allclose(of_two, expected, atol=1e-6)
    np.testing.assert_allclose(of_one, expected[0], atol=1e-6)


def test_history_holds_the_newest_first(rng):
    """Three passes: the present fills the places of the past at first, then each pass drops the oldest."""
    x = rng.standard_normal((3, 8, 12, 2)).astype(np.float32)
    history = NET.empty_history(8, 12, jnp.float32)
    assert [h.shape for h in history] == [(2, 3, 12), (4, 6, 10)]
    params = random_variables(NET, x[0], SLOPE, history, True)
    apply = jax.jit(NET.apply)
    seen = []
    for i in range(3):
        _, history = apply(params, x[i], SLOPE, history, i == 0)
        seen.append(jax.device_get(history))
    for (first, second, third), n in zip(zip(*seen, strict=True), (6, 5), strict=True):
        np.testing.assert_array_equal(first[..., :n], first[..., n:])
        np.testing.assert_array_equal(second[..., n:], first[..., :n])
        np.testing.assert_array_equal(third[..., n:], second[..., :n])
        assert np.abs(third[..., :n] - second[..., :n]).max() > 1e-4


def test_leading_axes_are_examples(rng):
    """Each with statistics of its own; a constant example is handed through the normalisation without NaN."""
    net = nn.NormPromptUnet(nn.PromptUnet(4, (5,), (4,), (2,), (3,), (1,), (1,), (1,), 0))
    x = jnp.array(rng.standard_normal((3, 2, 7, 9)) * np.array([1, 100, 0])[:, None, None, None], jnp.complex64)
    params = random_variables(net, x, SLOPE)
    apply = jax.jit(lambda x: net.apply(params, x, SLOPE)[0])
    together = np.asarray(apply(x))
    for own, one in zip(together, np.asarray(x), strict=True):
        np.testing.assert_allclose(own, apply(one), rtol=1e-4, atol=1e-4)
    assert not together[2].any()


def test_prompts_are_resized_without_antialiasing():
    """A prompt of 4 x 4 on a level of 2 x 2: the mean of the two middle pixels along each axis."""
    net = nn.PromptBlock(1, 1, 4)
    x = np.ones((2, 2, 3), np.float32)
    params = random_variables(net, x)
    params["params"]["conv"]["kernel"] = np.pad(np.ones((1, 1, 1, 1), np.float32), [(1, 1), (1, 1), (0, 0), (0, 0)])
    prompt = np.asarray(params["params"]["prompt"])[0, ..., 0]
    pairs = prompt.reshape(2, 2, 2, 2).mean((1, 3))
    np.testing.assert_allclose(jax.jit(net.apply)(params, x)[..., 0], pairs, atol=1e-6)
