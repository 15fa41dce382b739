"""The denoisers by configuration: counts, sizes of any kind through the complex wrapper, zero input, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import random_variables
from support.type_check import as_user

from jaxrecon import nn

COUNTS = {
    "DNCNN": (10_154, 80_362, 677_450),
    "UNET": (58_536, 483_592, 1_928_600),
    "MWCNN": (338_762, 6_221_162, 24_939_338),
    "DIDN": (867_642, 3_455_594, 26_977_226),
    "FOCNET": (455_674, 621_698, 9_896_354),
}
"""Small, medium and big, 12 channels in and 10 out: the published sizes."""
MULTIPLES = {"DNCNN": (1, 1, 1), "UNET": (8, 16, 16), "MWCNN": (8, 16, 16), "DIDN": (16,) * 3, "FOCNET": (8, 16, 16)}


def count(net, x):
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), x)))


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name):
    x = jnp.zeros((16, 16, 12))
    presets = [getattr(nn, f"{name}_{size}") for size in ("SMALL", "MEDIUM", "BIG")]
    assert tuple(count(preset.build(10), x) for preset in presets) == COUNTS[name]
    assert tuple(preset.multiple for preset in presets) == MULTIPLES[name]
    assert {preset.residual for preset in presets} == {name != "FOCNET"}


def test_other_published_counts():
    assert count(nn.UNET_MEDIUM_ATTENTION.build(10), jnp.zeros((16, 16, 12))) == 483_940
    of_benchmark = [nn.BenchmarkUNet(1, penultimate_activation=flag) for flag in (False, True)]
    assert [count(net, jnp.zeros((16, 16, 1))) for net in of_benchmark] == [481_801] * 2
    maps = jnp.zeros((1, 16, 16), jnp.complex64)
    refiners = [nn.SensitivityRefiner(features) for features in (nn.REFINER_SMALL, nn.REFINER_BIG)]
    assert [count(net, maps) for net in refiners] == [7_458, 120_790]


TINY = {
    "dncnn": nn.DnCNNConfig(3, 2),
    "unet": nn.BenchmarkUNetConfig((2, 3), 1, "leaky_relu", attention="all"),
    "mwcnn": nn.MWCNNConfig((5,), (1,), 4, 1),
    "mwcnn without first convolutions": nn.MWCNNConfig((5,), (2,), first_convs=0),
    "didn": nn.DIDNConfig(4, 1, 1),
    "focnet": nn.FocNetConfig(2, 2),
}
SIZES = (13, 18)


@pytest.fixture(scope="module", params=TINY)
def tiny(request):
    """(configuration, wrapper, its parameters, input, (result, gradients) of it beside an empty example)."""
    config = TINY[request.param]
    net = nn.multiscale_complex(config, 2)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 3, *SIZES)) + 1j * rng.standard_normal((2, 3, *SIZES))).astype(np.complex64)
    x[1] = 0
    params = random_variables(net, x)

    @jax.jit
    def run(params, x):
        def loss(params, x):
            y = net.apply(params, x)
            return jnp.sum(jnp.abs(y - 1) ** 2), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    return config, params, x, jax.device_get(run(params, x))


def test_any_size_and_an_empty_image(tiny):
    """Odd sizes are padded and cropped along both axes; zeros give finite values and gradients."""
    *_, (gradients, y) = tiny
    assert y.shape == (2, 2, *SIZES) and y.dtype == np.complex64
    for leaf in jax.tree.leaves((gradients, y)):
        assert np.isfinite(leaf).all()
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients[0]):
        assert leaf.any(), f"{jax.tree_util.keystr(path)} never learns"


KEPT = {
    "unet": (1.9638481 - 0.0539953j, 0.8351011 - 0.9422026j, 0.5326330 + 0.2610256j),
    "didn": (-1.4419272 + 2.8887622j, 2.7672431 - 1.4969444j, 4.9584727 - 0.6463719j),
    "focnet": (0.8902539 + 0.4083249j, 0.5017831 + 0.8336881j, 0.5349683 + 0.7577205j),
}
"""Three pixels each, of when the outputs of the reference code were met: its files for these are too large to be kept here."""


@pytest.mark.parametrize(("tiny", "expected"), KEPT.items(), ids=KEPT, indirect=["tiny"])
def test_outputs_stay_those_of_the_reference(tiny, expected):
    *_, (_, y) = tiny
    np.testing.assert_allclose([y[0, 0, 6, 9], y[0, 1, 12, 0], y[1, 1, 3, 17]], expected, rtol=1e-4)


@pytest.mark.parametrize("tiny", ["dncnn", "mwcnn"], indirect=True)
def test_padding_packing_and_residual_written_out(tiny):
    config, params, x, (_, y) = tiny
    extra = [-n % config.multiple for n in SIZES]
    front = [(n + 1) // 2 for n in extra]
    packed = np.moveaxis(np.concatenate([x.real, x.imag], 1), 1, -1)
    packed = np.pad(packed, [(0, 0), *((f, e - f) for f, e in zip(front, extra, strict=True)), (0, 0)])
    out = np.asarray(jax.jit(config.build(4).apply)({"params": params["params"]["net"]}, packed))
    out = np.moveaxis(out[:, front[0] :, front[1] :][:, : SIZES[0], : SIZES[1]], -1, 1)
    expected = out[:, :2] + 1j * out[:, 2:] + (x[:, :2] if config.residual else 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.MWCNN(2, (4, 4), (1, 1)), r"an MWCNN of 2 scales .* multiples of 4, got \(12, 10\): pad"),
        (nn.BenchmarkUNet(2, (4, 4, 4)), r"a U-Net of 2 poolings .* multiples of 4, got \(12, 10\)"),
        (nn.DIDN(2, 4), r"a DIDN .* multiples of 8, got \(12, 10\)"),
        (nn.FocNet(2, 4, 3), r"a FocNet of 3 scales .* multiples of 4, got \(12, 10\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_size_that_cannot_be_halved(net, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((12, 10, 2)))


def test_sizes_that_make_no_network():
    with pytest.raises(ValueError, match="first_features 2 is less than the 3 output channels"):
        jax.eval_shape(nn.MWCNN(3, (4,), (1,), 2).init, jax.random.key(0), jnp.zeros((4, 4, 1)))
    for config, changed, message in (
        (nn.DNCNN_SMALL, {"layers": 0}, "layers must be 1 or more"),
        (nn.MWCNN_SMALL, {"convs": (2,)}, "one entry for each scale"),
        (nn.UNET_SMALL, {"features": ()}, "levels must be 1 or more"),
        (nn.UNET_SMALL, {"attention": "some"}, "attention must be one of none, top, all"),
        (nn.DIDN_SMALL, {"features": 6}, "multiple of 4, not 6"),
        (nn.FOCNET_SMALL, {"scales": 5}, "at most 4 scales, not 5"),
    ):
        with as_user(), pytest.raises(ValueError, match=message):
            dataclasses.replace(config, **changed)


def test_variants_of_the_unet(rng):
    """Attention at every level or at three places; the residual is subtracted."""
    x = rng.standard_normal((4, 6, 2)).astype(np.float32)
    net = nn.BenchmarkUNet(2, (2, 4), convs=1, activation="prelu")
    params = random_variables(net, x)
    plain, residual = jax.jit(lambda x: (net.apply(params, x), net.clone(residual=True).apply(params, x)))(x)
    np.testing.assert_allclose(residual, x - plain, atol=1e-6)
    places = {"none": set(), "top": {"down_0", "up_0"}, "all": {"down_0", "bottom", "up_0"}}
    for attention, levels in places.items():
        tree = jax.eval_shape(net.clone(attention=attention).init, jax.random.key(0), x)["params"]
        assert {name for name, level in tree.items() if "attention" in level} == levels
        assert ("out_0_attention" in tree) == (attention != "none")


def test_bfloat16_keeps_the_dtype():
    for config in TINY.values():
        x = jax.ShapeDtypeStruct((16, 16, 4), jnp.float32)
        y, variables = jax.eval_shape(config.build(2, dtype=jnp.bfloat16).init_with_output, jax.random.key(0), x)
        assert {leaf.dtype for leaf in jax.tree.leaves((y, variables))} == {np.dtype("float32")}


def test_slopes_one_or_for_each_channel(rng):
    x = rng.standard_normal((3, 4, 2)).astype(np.float32)
    one, each = jax.jit(lambda x: (nn.prelu(x, jnp.float32(0.5)), nn.prelu(x, jnp.array([0.5, 2.0]))))(x)
    np.testing.assert_array_equal(one, np.where(x > 0, x, 0.5 * x))
    np.testing.assert_array_equal(each, np.where(x > 0, x, [[[0.5, 2.0]]] * x))


def test_weights_of_fractional_order():
    """The oldest features first, the last weight beta."""
    assert nn.focnet.fractional_weights(1) == [0.2]
    np.testing.assert_allclose(nn.focnet.fractional_weights(3), [0.2 * 0.4 * 0.6, 0.2 * 0.4, 0.2])


def test_refined_maps_have_unit_rss_and_stay_zero_where_they_vanish(random_complex):
    """Without biases nothing comes of nothing: zeros, and a finite gradient."""
    net = nn.SensitivityRefiner((4, 4))
    maps = np.array(random_complex((2, 3, 9, 7)))  # two examples
    params = random_variables(net, maps)
    params = jax.tree_util.tree_map_with_path(lambda path, a: 0 * a if path[-1].key == "bias" else a, params)
    maps[1] = 0

    @jax.jit
    def run(params, maps):
        def loss(params, maps):
            y = net.apply(params, maps)
            return jnp.sum(jnp.abs(y - 1) ** 2), y

        return jax.grad(loss, (0, 1), has_aux=True)(params, maps)

    gradients, refined = jax.device_get(run(params, maps))
    np.testing.assert_allclose(np.sum(np.abs(refined[0]) ** 2, 0), 1, rtol=1e-5)
    assert not refined[1].any() and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
