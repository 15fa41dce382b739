import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d
from support.models import TINY
from support.problems import n_parameters, problem, random_params, random_variables, with_mask
from support.programs import all_finite, gradient, run
from support.type_check import as_user

from jaxrecon.complex_ops import from_channels, rss, to_channels
from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.models import DeepJSenseConfig, MoDLDeepJSenseConfig, build
from jaxrecon.models.modl import regularized_solve
from jaxrecon.nn import BiasFreeResNet
from jaxrecon.operators import CartesianSense, MapConvolution, kernels_to_maps
from jaxrecon.problem import Problem

SMALL = TINY["deep-jsense"]
PLAIN = dataclasses.replace(SMALL, map_net=False, image_net=False)
NET = BiasFreeResNet(SMALL.features, SMALL.blocks)
JSENSE = Path(__file__).parents[1] / "golden" / "deep_jsense" / "jsense_sigpy.npz"


@pytest.mark.parametrize(
    ("config", "part", "count"),
    [
        (DeepJSenseConfig(), None, 447_490),
        (dataclasses.replace(DeepJSenseConfig(), shared=False), "steps", 6 * 223_744),
        (dataclasses.replace(DeepJSenseConfig(), shared=False), "start", 223_744 + 2),
        (dataclasses.replace(DeepJSenseConfig(), map_iters=0), None, 223_745),
        (MoDLDeepJSenseConfig(), None, 223_745),
        (MoDLDeepJSenseConfig(shared=False), "steps", 6 * 223_744),
        (MoDLDeepJSenseConfig(shared=False), "start", 1),
        (dataclasses.replace(DeepJSenseConfig(), map_net=False, image_net=False), None, 2),
    ],
)
def test_published_numbers_of_parameters(config, part, count):
    model = build(config)
    assert n_parameters(model, maps=model.wants.maps == "given", part=part) == count


def explained(kernels, image, shape):
    """k-space of kernels and image by the definition: the valid convolution, on transforms of its own."""
    maps = ifftc(crop_or_pad(kernels, image.shape[-2:]))
    return crop_or_pad(
        fftc(jnp.sum(maps * image[..., None, :, :], 0) if image.ndim == 3 else maps * image[None]), shape
    )


@jax.jit
def relative_residual(given, carry):
    """Of fully sampled data."""
    error = given.kspace - explained(carry["kernels"], carry["image"], given.kspace.shape[-2:])
    return jnp.linalg.norm(error) / jnp.linalg.norm(given.kspace)


def consistent_problem(shape=(24, 20), coils=4, sets=1, dtype=np.complex128):
    """Noise-free data of the model itself."""
    rng = np.random.default_rng(0)
    draw = lambda *s: (rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype)
    image = draw(sets, *(n + k - 1 for n, k in zip(shape, SMALL.kernel, strict=True)))
    kspace = jax.jit(explained, static_argnums=2)(draw(sets, coils, *SMALL.kernel), image, shape)
    return Problem(kspace, CartesianSense(None))


def modl_by_hand(params, op, zero_filled, n_steps):
    """MoDL from the library's own parts: network after CG, warm start, no prior in the first right-hand side."""
    x = zero_filled
    for i in range(n_steps):
        rhs = zero_filled + (params["image_lam"] * x if i else 0)
        x = regularized_solve(op.normal, rhs, params["image_lam"], x0=x, n_iter=3)
        x = from_channels(NET.apply(params["image_net"], to_channels(x)))
    return x


def test_without_map_updates_it_is_modl_on_the_padded_grid(x64):
    given, _ = problem(maps=False, dtype=np.complex128)
    model = build(dataclasses.replace(SMALL, map_iters=0, image_iters=3))
    params = random_params(model, given)
    image, carry, _ = run(model, params, given, carry=True)

    @jax.jit
    def by_hand(params, given):
        shape, grid = (12, 10), (16, 12)
        images = ifftc(given.kspace)
        kernels = crop_or_pad(fftc(images / rss(images)[None]), (5, 3))
        maps = ifftc(crop_or_pad(kernels, grid))
        op = CartesianSense(maps, crop_or_pad(jnp.broadcast_to(given.op.encoding.mask, shape), grid))
        x = modl_by_hand(params["steps"], op, op.adjoint(crop_or_pad(given.kspace, grid)), 2)
        return x, kernels, rss(ifftc(crop_or_pad(fftc(maps * x[None]), shape)))

    x, kernels, expected = by_hand(params, given)
    np.testing.assert_allclose(carry["image"], x, atol=1e-11)
    np.testing.assert_allclose(carry["kernels"], kernels, atol=1e-13)
    np.testing.assert_allclose(image, expected, atol=1e-11)


def test_modl_mode_is_the_unpadded_problem(x64):
    given, _ = problem(dtype=np.complex128)
    model = build(MoDLDeepJSenseConfig(n_steps=2, image_iters=3, features=NET.features, blocks=NET.blocks))
    params = random_params(model, given)

    @jax.jit
    def by_hand(params, given):
        op = given.op
        return rss(op.maps * modl_by_hand(params["steps"], op, op.adjoint(given.kspace), 2)[None])

    np.testing.assert_allclose(run(model, params, given), by_hand(params, given), atol=1e-11)


def test_networks_off_it_is_l2_jsense_of_sigpy(x64):
    case = np.load(JSENSE)
    n_pixels = case["image_kernel"].size
    config = DeepJSenseConfig(
        n_steps=5,
        kernel=case["map_kernel"].shape[1:],
        map_net=False,
        image_net=False,
        prior="zero",
        start="delta",
        lam=0.01 / n_pixels**0.5,
    )
    given = Problem(jnp.array(case["y_cal"]), CartesianSense(None, jnp.array(case["weights"].real ** 0.5)))
    model = build(config)
    params = jax.jit(model.init)(jax.random.key(0), given)
    for n_steps, suffix in ((1, "_1"), (5, "")):
        _, carry, _ = jax.device_get(run(model, params, given, n_steps=n_steps, carry=True))
        scale = n_pixels**-0.25
        for own, name in ((carry["kernels"], "map_kernel"), (jax.jit(fftc)(carry["image"]), "image_kernel")):
            expected = case[f"{name}{suffix}"]
            assert np.abs(scale * own - expected).max() < 1e-8 * np.abs(expected).max()


def test_column_masks_take_the_short_way_to_the_same_iterates(x64):
    """The gradients of the short way are those of its operators: tests/operators/test_convolution.py."""
    given, _ = problem((13, 10), maps=False, dtype=np.complex128)
    model, mask = build(dataclasses.replace(PLAIN, map_iters=4)), np.asarray(given.op.encoding.mask)
    params = random_params(model, given)
    full, flat = with_mask(given, np.broadcast_to(mask, (13, 10))), with_mask(given, mask.reshape(-1))
    image, expected, _ = jax.device_get(run(model, params, full, carry=True))
    for form in (given, flat):
        own_image, own, _ = run(model, params, form, carry=True)
        np.testing.assert_allclose(own_image, image, rtol=1e-11)
        for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9 * np.abs(b).max())


def test_alternation_falls_monotonically_on_consistent_data(x64):
    given = consistent_problem()
    model = build(dataclasses.replace(PLAIN, n_steps=6))
    carry, context = jax.jit(model.start)({}, given)
    step, residuals = jax.jit(model.step), [float(relative_residual(given, carry))]
    for i in range(6):
        carry = step({"map_lam": 1e-8, "image_lam": 1e-8}, carry, context, i)
        residuals.append(float(relative_residual(given, carry)))
    assert all(after < before for before, after in itertools.pairwise(residuals)), residuals
    assert residuals[-1] < 0.3 * residuals[0]


def test_scale_and_phase_may_move_from_image_to_maps():
    given, _ = problem(maps=False)
    model, t = build(PLAIN), 0.3 - 2j

    @jax.jit
    def images(given):
        carry, context = model.start({}, given)
        moved = {"image": t * carry["image"], "kernels": carry["kernels"] / t}
        return model.finish(moved, context), model.finish(carry, context)

    moved, image = images(given)
    np.testing.assert_allclose(moved, image, rtol=2e-5)


def test_two_map_sets_explain_what_one_cannot(x64):
    """Data of two sets, as where the object is larger than the field of view."""
    given = consistent_problem(sets=2)
    residuals = {}
    for n_sets in (1, 2):
        config = dataclasses.replace(PLAIN, n_steps=12, n_sets=n_sets, map_iters=6, image_iters=6)
        weights = {"start": {}, "steps": {"map_lam": 1e-6, "image_lam": 1e-6}}
        image, carry, _ = run(build(config), weights, given, carry=True)
        assert image.shape == (24, 20)
        residuals[n_sets] = relative_residual(given, carry)
    assert residuals[2] < 0.5 * residuals[1]


@pytest.mark.parametrize("start", ["rss", "delta"])
def test_map_sets_differ_from_the_first_step_on(start):
    given, _ = problem(maps=False)
    model = build(dataclasses.replace(PLAIN, n_sets=2, start=start))
    _, carry, _ = jax.device_get(run(model, random_params(model, given), given, n_steps=1, carry=True))
    for sets in (carry["kernels"], carry["image"]):
        assert np.linalg.norm(sets[1] - sets[0]) > 0.1 * np.linalg.norm(sets[0])


def test_networks_see_each_map_set_by_itself():
    given, _ = problem(maps=False)
    model = build(dataclasses.replace(SMALL, n_sets=2))
    assert n_parameters(model, maps=False) == n_parameters(build(SMALL), maps=False)
    image, carry, _ = run(model, random_params(model, given), given, carry=True)
    assert image.shape == (12, 10) and carry["image"].shape == (2, 16, 12)
    assert carry["kernels"].shape == (2, 3, 5, 3)
    assert np.isfinite(image).all()


@pytest.mark.slow
def test_the_paper_s_network_runs():
    given, _ = problem((40, 32), coils=2, maps=False)
    model = build(DeepJSenseConfig())
    image = run(model, random_params(model, given), given)
    assert image.shape == (40, 32) and np.isfinite(image).all() and np.any(np.asarray(image))


def test_separate_image_networks_are_separate():
    given, _ = problem(maps=False)
    model, shared = build(dataclasses.replace(SMALL, shared=False)), build(SMALL)
    params = random_params(model, given)
    assert set(params["steps"]) == {"image_net"} and set(params["start"]) == {"map_net", "map_lam", "image_lam"}
    first = jax.tree.map(lambda a: np.asarray(a)[0], params["steps"])
    tied = {"start": {}, "steps": {**params["start"], **first}}
    repeated = {"start": params["start"], "steps": jax.tree.map(lambda a: np.stack([a, a]), first)}
    image = np.asarray(run(model, repeated, given))
    np.testing.assert_allclose(image, run(shared, tied, given), rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(run(model, params, given)) - image).max() > 1e-3


def test_implicit_gradient_is_that_of_converged_iterations(x64):
    given, target = problem((6, 8), coils=2, maps=False, dtype=np.complex128)
    config = dataclasses.replace(PLAIN, kernel=(3, 3), map_iters=60, image_iters=60)
    weights = {"start": {}, "steps": {"map_lam": 0.3, "image_lam": 0.3}}
    models = [build(dataclasses.replace(config, implicit=implicit)) for implicit in (False, True)]
    results = [gradient("end_to_end", model)(weights, given, np.abs(target))[1] for model in models]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


def test_all_zero_slices_give_zero_and_finite_gradients():
    given, _ = problem(maps=False)
    given = given.replace(kspace=np.zeros_like(given.kspace))
    model = build(SMALL)
    params = random_params(model, given)
    (value, _), gradients = gradient("end_to_end", model)(params, given, np.ones((12, 10), np.float32))
    assert value == 1 and all_finite(gradients)
    from_delta = build(dataclasses.replace(SMALL, start="delta"))
    np.testing.assert_array_equal(run(from_delta, params, given), 0)


@pytest.mark.parametrize("implicit", [False, True])
def test_weights_learned_below_zero_are_finite(implicit):
    """Nothing keeps the weights positive: the matrices are then indefinite where nothing is measured."""
    given, _ = problem((24, 20), coils=2, maps=False)
    model = build(dataclasses.replace(PLAIN, n_steps=6, map_iters=6, image_iters=6, implicit=implicit))
    weights = {"start": {}, "steps": {"map_lam": -0.01, "image_lam": -0.01}}
    (value, _), gradients = gradient("end_to_end", model)(weights, given, np.zeros((24, 20), np.float32))
    assert np.isfinite(value) and value > 0
    assert all_finite(gradients)


def test_full_sampling_and_one_coil():
    given, _ = problem(coils=1, maps=False)
    full, none = with_mask(given, np.ones((1, 10), np.float32)), with_mask(given, None)
    model = build(SMALL)
    params = random_params(model, given)
    image = np.asarray(run(model, params, none))
    np.testing.assert_allclose(image, run(model, params, full), rtol=1e-3, atol=1e-4)
    assert np.isfinite(image).all() and np.any(image)


def test_refused_with_a_reason():
    given, _ = problem(maps=False)
    initial = lambda config, given=given: jax.eval_shape(build(config).init, jax.random.key(0), given)
    with pytest.raises(ValueError, match=r"map kernels of \(15, 9\) do not fit k-space \(y, x\) of \(12, 10\)"):
        initial(DeepJSenseConfig())
    with pytest.raises(ValueError, match=r"would wrap around; wanted at least \(16, 12\)"):
        initial(dataclasses.replace(SMALL, grid=(14, 12)))
    with pytest.raises(ValueError, match="the mask must be"):
        initial(SMALL, with_mask(given, np.ones((3, 1, 10))))
    with pytest.raises(ValueError, match=r"the mask of shape \(1, 9\) .* kspace \(y, x\) of shape \(12, 10\)"):
        initial(SMALL, with_mask(given, np.ones((1, 9))))
    with pytest.raises(ValueError, match=r"kspace must have axes \(coil, y, x\)"):
        initial(SMALL, given.replace(kspace=given.kspace[None]))
    with pytest.raises(ValueError, match="maps are needed"):
        initial(MoDLDeepJSenseConfig(features=3))
    for options, reason in (
        ({"image_iters": 0}, "image_iters"),
        ({"blocks": 1}, "blocks"),
        ({"prior": "none"}, "prior must be one of previous, zero"),
        ({"shared": False, "image_net": False}, "separate image networks"),
    ):
        with as_user(), pytest.raises(ValueError, match=reason):
            build(MoDLDeepJSenseConfig(**options))
    for options, reason in (
        ({"map_iters": -1}, "map_iters"),
        ({"image_iters": 0}, "image_iters"),
        ({"blocks": 1}, "blocks"),
        ({"n_sets": 0}, "n_sets"),
        ({"kernel": (5, 1)}, "mirrors its border"),
        ({"shared": False, "image_net": False}, "separate image networks"),
        ({"convention": "refrence"}, "convention must be one of consistent, reference, not 'refrence'"),
        ({"start": "RSS"}, "start must be one of rss, delta"),
        ({"prior": None}, "prior must be one of previous, zero"),
        ({"kernel": 5}, r"kernel must be two sizes \(y, x\), not 5"),
        ({"kernel": (5, 3, 3)}, "kernel must be two sizes"),
        ({"grid": (24,)}, "grid must be two sizes"),
    ):
        with as_user(), pytest.raises(ValueError, match=reason):
            build(dataclasses.replace(SMALL, **options))


def test_larger_grid_keeps_the_convolution_linear(x64, random_complex):
    kernels, image = random_complex((3, 5, 3), np.complex128), random_complex((18, 16), np.complex128)

    @jax.jit
    def convolved(kernels, image):
        return MapConvolution(image, None, (12, 10), (5, 3)).forward(kernels), fftc(image)

    out, transformed = jax.device_get(convolved(kernels, image))
    expected = np.stack([convolve2d(transformed, k, mode="same") for k in np.asarray(kernels)])[:, 3:15, 3:13]
    np.testing.assert_allclose(18 * 16 * np.abs(out) ** 2, np.abs(expected) ** 2, rtol=1e-9)
    maps, by_hand = jax.jit(lambda k: (kernels_to_maps(k, (18, 16)), ifftc(crop_or_pad(k, (18, 16)))))(kernels)
    np.testing.assert_allclose(maps, by_hand, atol=1e-12)


def test_the_network_is_positively_homogeneous(rng):
    x = rng.standard_normal((2, 6, 5, 2)).astype(np.float32)
    params = random_variables(NET, x)
    apply = jax.jit(NET.apply)
    y = np.asarray(apply(params, x))
    np.testing.assert_allclose(apply(params, 3 * x), 3 * y, rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(apply(params, -x)) + y).max() > 1e-2
