import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.models import TINY, abstract
from support.problems import SHAPE, problem, problem_for, random_params, with_mask
from support.programs import all_finite, gradient, mean_error, run

from jaxrecon import models
from jaxrecon.complex_ops import rss
from jaxrecon.fourier import fftc, ifftc
from jaxrecon.models import (
    PROMPTMR_16,
    PROMPTMR_BRAIN,
    PROMPTMR_KNEE,
    PROMPTMR_PLUS_BASELINE,
    PROMPTMR_PLUS_BASELINE_BRAIN,
    PROMPTMR_PLUS_BASELINE_KNEE,
    PromptMRConfig,
    PromptMRPlusConfig,
    build,
)
from jaxrecon.models.promptmr import prompt_nets
from jaxrecon.training import compiled_memory

ORIGINAL, PLUS = TINY["promptmr"], TINY["promptmr-plus"]
SLICES, MIDDLE = PLUS.n_adjacent, PLUS.n_adjacent // 2


def named(tree):
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


@pytest.mark.parametrize(
    ("config", "count", "frozen", "maps_count"),
    [
        (PromptMRPlusConfig(), 92_859_005, 10_368_000, 1_871_537),
        (replace(PromptMRPlusConfig(), n_history=0), 82_318_205, 10_368_000, 1_871_537),
        (replace(PromptMRPlusConfig(), n_buffers=0), 92_075_645, 10_368_000, 1_871_537),
        (replace(PromptMRPlusConfig(), adjacent_maps=False), 92_852_477, 10_368_000, 1_865_009),
        (PromptMRConfig(), 81_528_317, 10_368_000, 1_865_009),
        (PROMPTMR_KNEE, 79_643_645, 10_368_000, 1_828_145),
        (PROMPTMR_BRAIN, 78_376_853, 10_160_640, 561_353),
        (PROMPTMR_16, 108_082_753, 13_685_760, 1_865_009),
    ],
)
def test_published_numbers_of_parameters(config, count, frozen, maps_count):
    params = named(abstract(replace(config, n_steps=1)))
    # more steps have a longer leading axis
    sizes = {name: leaf.size * (config.n_steps if name.startswith("steps/") else 1) for name, leaf in params.items()}
    assert sum(sizes.values()) == count
    assert sum(size for name, size in sizes.items() if name.endswith("/prompt")) == frozen
    # the shared slope is counted with the maps
    assert sum(size for name, size in sizes.items() if name.startswith("start/")) == maps_count


def test_the_baseline_of_promptmr_plus_has_the_parameters_of_promptmr():
    """Its published sizes are the same, and networks of one size have the same parameters."""
    sizes = lambda config: (config.n_steps, config.n_adjacent, config.sizes, config.learn_prompts)
    assert sizes(PROMPTMR_PLUS_BASELINE) == sizes(PromptMRConfig())
    assert sizes(PROMPTMR_PLUS_BASELINE_KNEE) == sizes(PROMPTMR_KNEE)
    assert sizes(PROMPTMR_PLUS_BASELINE_BRAIN) == sizes(PROMPTMR_BRAIN)
    tiny = [abstract(replace(config, sizes=PLUS.sizes)) for config in (PROMPTMR_PLUS_BASELINE, PromptMRConfig())]
    shapes, expected = (jax.tree.map(lambda a: (a.shape, a.dtype), params) for params in tiny)
    assert shapes == expected


@functools.cache
def setup(config):
    """(model, parameters, problem of frames with masks of their own, target, results of all steps)."""
    model = build(config)
    given, target = problem_for(model, maps=False)
    params = random_params(model, given)
    return model, params, given, target, jax.device_get(run(model, params, given, every_step=True, carry=True))


def steps_of(params):
    """The parameters of each cascade."""
    return [jax.tree.map(lambda a, i=i: np.asarray(a)[i], params["steps"]) for i in range(2)]


def test_original_written_out():
    _, params, given, _, (images, last, (_, op, slope)) = setup(ORIGINAL)
    slope = jnp.array(slope)
    net = prompt_nets(ORIGINAL.sizes)[1]
    np.testing.assert_allclose(rss(op.maps), 1, rtol=1e-5)

    @jax.jit
    def step(theta, k, maps):
        change, _ = net.apply(theta["net"], jnp.sum(jnp.conj(maps) * ifftc(k), 1), slope)
        k = k - theta["dc_weight"] * given.op.encoding.mask * (k - given.kspace) - fftc(maps * change[:, None])
        return k, rss(ifftc(k[MIDDLE]))

    k = given.kspace
    for i, theta in enumerate(steps_of(params)):
        k, image = step(theta, k, op.maps)
        np.testing.assert_allclose(images[i], image, atol=2e-4)
    np.testing.assert_allclose(last, k, atol=2e-4)


def test_plus_written_out():
    """Two cascades by hand: the five inputs, the latent, the history, and the step from the input's data gradient."""
    _, params, given, _, (images, last, (op, zero_filled, slope)) = setup(PLUS)
    slope = jnp.array(slope)
    net = prompt_nets(PLUS.sizes, n_history=PLUS.n_history)[1]
    maps, mask = op.maps, given.op.encoding.mask

    @jax.jit
    def by_hand(kspace):
        return jnp.sum(jnp.conj(maps) * ifftc(kspace), 1)

    @jax.jit
    def step(theta, x, s, history, first):
        f = jnp.sum(jnp.conj(maps) * ifftc(mask * fftc(maps * x[:, None])), 1)
        out, history = net.apply(theta["net"], jnp.concatenate([x, f, s, z, f - z]), slope, history, first)
        return x - theta["dc_weight"] * (f - z) - out[:SLICES], out[2 * SLICES : 3 * SLICES], history

    x = s = z = by_hand(given.kspace)
    np.testing.assert_allclose(zero_filled, z, atol=1e-5)
    history = net.empty_history(x)
    for i, theta in enumerate(steps_of(params)):
        x, s, history = step(theta, x, s, history, i == 0)
        # the maps of a pixel have a sum of squares of 1
        np.testing.assert_allclose(images[i], np.abs(np.asarray(x)[MIDDLE]), atol=2e-4)
    np.testing.assert_allclose(last["image"], x, atol=2e-4)
    np.testing.assert_allclose(last["latent"], s, atol=2e-4)
    for own, expected in zip(last["history"], history, strict=True):
        np.testing.assert_allclose(own, expected, atol=2e-4)


def test_prompts_are_frozen_unless_learned():
    model, _, given, target, _ = setup(ORIGINAL)
    params = random_params(model, given, seed=9)  # by which no ReLU of channel attention is off everywhere
    grads = named(jax.device_get(gradient("checkpointed", model)(params, given, target)[1]))
    prompts = [name for name in grads if name.endswith("/prompt")]
    assert len(prompts) == 2
    assert [name for name, g in grads.items() if not g.any()] == prompts, "the other parameters have a gradient"
    first, second = grads["steps/dc_weight"]
    assert first == 0 and second != 0, "k_0 = y: the first weight has no effect"

    learned = build(replace(ORIGINAL, learn_prompts=True))
    is_prompt = lambda path: path[-1].key == "prompt"

    def loss(of_prompts):
        both = jax.tree_util.tree_map_with_path(lambda path, a, b: a if is_prompt(path) else b, of_prompts, params)
        return mean_error(models.run(learned, both, given), target)

    only = jax.tree_util.tree_map_with_path(lambda path, a: a if is_prompt(path) else np.zeros(()), params)
    grads = named(jax.device_get(jax.jit(jax.grad(loss))(only)))
    assert all(grads[name].any() for name in prompts)


@functools.cache
def maps_of(config):
    """(parameters of start, problem) -> the maps that PromptMR+ estimates."""
    model = build(config)
    return jax.jit(lambda start, given: model.start(start, given)[1][0].maps)


def test_maps_of_adjacent_slices_take_less_memory(monkeypatch):
    """Compiled for gradients; the full size is in experiments/benchmarks/promptmr_memory.py."""
    # blocks as small beside these images as they are beside real ones
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.BLOCK", 2**9)
    monkeypatch.setattr("jaxrecon.nn.kernel_gradient.LEAST_PIXELS", 16)

    def temporary(**changes):
        config = replace(PLUS, sizes=replace(PLUS.sizes, sens_features=8), **changes)
        maps = lambda start, given: jnp.sum(jnp.abs(build(config).start(start, given)[1][0].maps.real) ** 3)
        return compiled_memory(jax.grad(maps), abstract(config)["start"], setup(PLUS)[2]).temporary

    together, alone = temporary(), temporary(adjacent_maps=False)
    assert together < 0.45 * alone
    assert temporary(one_map_at_a_time=True) < together


@pytest.mark.parametrize("adjacent", [True, False])
def test_one_map_at_a_time_is_the_same(adjacent):
    config = replace(PLUS, adjacent_maps=adjacent)
    given = setup(PLUS)[2]
    params = random_params(build(config), given)["start"]
    one_by_one = maps_of(replace(config, one_map_at_a_time=True))(params, given)
    np.testing.assert_allclose(one_by_one, maps_of(config)(params, given), atol=1e-5)


@pytest.mark.parametrize("config", [ORIGINAL, PLUS], ids=["original", "plus"])
def test_empty_slices_give_no_nan(config):
    """An empty slice beside others, and an empty window: finite images and gradients, the empty window's image is 0."""
    model, params, given, target, _ = setup(config)
    kspace = np.asarray(given.kspace)
    for is_empty, factor in ((True, np.zeros(SLICES)), (False, np.arange(SLICES) > 0)):
        own = given.replace(kspace=kspace * factor.astype(np.float32)[:, None, None, None])
        images, *_ = jax.device_get(run(model, params, own, every_step=True, carry=True))
        assert np.isfinite(images).all() and images.any() != is_empty
        (value, _), grads = gradient("checkpointed", model)(params, own, np.ones_like(target))
        assert np.isfinite(value) and all_finite(grads)


def test_masks():
    """A full mask, no mask, a mask of each frame, and a given calibration region."""
    model, params, framed, _, _ = setup(PLUS)
    reconstruct = lambda own: jax.device_get(run(model, params, own, every_step=True, carry=True)[0])
    common, _ = problem(frames=SLICES, maps=False, one_mask=True)
    full, none = with_mask(common, np.ones((1, SHAPE[1]), np.float32)), with_mask(common, None)
    assert np.isfinite(reconstruct(full)).all()
    np.testing.assert_allclose(reconstruct(none), reconstruct(full), atol=1e-4)
    # the same lines, said for each frame
    tiled = with_mask(common, np.tile(common.op.encoding.mask, (SLICES, 1, 1, 1)))
    np.testing.assert_allclose(reconstruct(tiled), reconstruct(common), atol=1e-4)
    # found in the mask and given; what all frames sample is the calibration region
    middle, maps = SHAPE[1] // 2, maps_of(PLUS)
    region = np.isin(np.arange(SHAPE[1]), range(middle - 2, middle + 2)).astype(np.float32)[None]
    for own in (common, framed):
        np.testing.assert_allclose(
            maps(params["start"], own), maps(params["start"], own.replace(acs=region)), atol=1e-5
        )
        assert (
            np.abs(maps(params["start"], own) - maps(params["start"], own.replace(acs=np.ones_like(region)))).max()
            > 1e-3
        )


def test_refused():
    model, params, given, *_ = setup(PLUS)
    kspace = np.asarray(given.kspace)
    with pytest.raises(ValueError, match=r"kspace must be \(3, coil, y, x\), but its shape is \(3, 12, 10\).*adjacent"):
        run(model, params, given.replace(kspace=kspace[1]))
    with pytest.raises(ValueError, match=r"3 neighbouring slices at once.*\(2, 3, 12, 10\)"):
        run(model, params, given.replace(kspace=kspace[:2]))
    with pytest.raises(ValueError, match="mask of shape"):
        run(model, params, with_mask(given, np.ones((2, 1, 1, SHAPE[1]))))
    for wrong, reason in (
        ({"n_adjacent": 4}, "odd"),
        ({"n_buffers": 2}, "n_buffers"),
        ({"n_history": -1}, "n_history"),
        ({"n_steps": 0}, "n_steps"),
    ):
        with pytest.raises(ValueError, match=reason):
            build(replace(PLUS, **wrong))
    with pytest.raises(ValueError, match="n_adjacent must be odd"):
        build(replace(ORIGINAL, n_adjacent=-1))
    for wrong, reason in (
        ({"features": 3}, "channels"),
        ({"prompt_sizes": (0,)}, "prompt_sizes"),
        ({"prompt_sizes": (4, 2)}, "one entry for each"),
        ({"bottleneck_cabs": -1}, "bottleneck_cabs"),
    ):
        with pytest.raises(ValueError, match=reason):
            replace(PLUS.sizes, **wrong)


def test_bfloat16_stays_near():
    _, params, given, _, (exact, *_) = setup(PLUS)
    half = build(replace(PLUS, bfloat16=True))
    images, carry, _ = run(half, params, given, every_step=True, carry=True)
    assert images.dtype == jnp.float32 and carry["history"][0].dtype == jnp.bfloat16
    assert np.linalg.norm(images[-1] - exact[-1]) < 0.1 * np.linalg.norm(exact[-1])
