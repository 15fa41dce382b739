import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.scans import SIMULATED, fftc
from support.type_check import as_user

from jaxrecon.data import anatomy
from jaxrecon.data.phantoms import CHEST_TISSUES, HEAD_TISSUES, chest_phantom, head_phantom
from jaxrecon.data.simulate import (
    CONTRASTS,
    coil_maps,
    complex_noise,
    deform,
    simulate,
    simulate_cine,
    smooth_phase,
    split_slices,
    tissue_signals,
)

SHAPE, COILS = SIMULATED, 4
KEY = jax.random.key(3)
maps_of_coils = jax.jit(coil_maps, static_argnames=("shape", "n_coils", "n_segments"))


@pytest.fixture(scope="module")
def scan():
    return jax.device_get(simulate(KEY, shape=SHAPE, n_coils=COILS))


@pytest.fixture(scope="module")
def head():
    """One subject at eleven positions, (position, tissue, y, x)."""
    positions = jnp.linspace(0, 1, 11)
    return jax.jit(jax.vmap(lambda z: head_phantom(KEY, shape=(65, 56), position=z)))(positions)


@pytest.fixture(scope="module")
def heart():
    return jax.jit(lambda key: chest_phantom(key, shape=(12, 64, 80)))(KEY)


def part(maps, name, names=HEAD_TISSUES):
    return np.asarray(maps)[..., names.index(name), :, :]


def test_measurement_is_the_model_plus_noise(scan):
    assert scan.image.shape == SHAPE and scan.maps.shape == scan.kspace.shape == (COILS, *SHAPE)
    assert scan.image.dtype == scan.maps.dtype == scan.kspace.dtype == jnp.complex64
    noise = scan.kspace - fftc(scan.maps * scan.image)
    np.testing.assert_allclose(np.sqrt(np.mean(np.abs(noise) ** 2)), scan.noise_std, rtol=0.03)
    np.testing.assert_allclose(noise.real.std(), noise.imag.std(), rtol=0.05)
    assert abs(noise.mean()) < 4 * float(scan.noise_std) / np.sqrt(noise.size)
    # white: coils and neighbouring samples are not correlated
    assert abs(np.vdot(noise[0], noise[1])) / noise[0].size < 0.1 * float(scan.noise_std) ** 2
    assert abs(np.vdot(noise[:, 1:], noise[:, :-1])) / noise.size < 0.1 * float(scan.noise_std) ** 2
    # unit root sum of squares: the full measurement combines to the image within the noise
    images = fftc(scan.kspace.conj()).conj()
    error = np.abs((scan.maps.conj() * images).sum(0) - scan.image)
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), scan.noise_std, rtol=0.1)


def test_stated_snr(scan):
    magnitude = np.abs(np.asarray(scan.image))
    head = magnitude > 0.01
    np.testing.assert_allclose(magnitude[head].mean() / float(scan.noise_std), 30, rtol=0.1)
    assert magnitude.max() < 1.2
    clean = jax.device_get(simulate(KEY, shape=SHAPE, n_coils=COILS, snr=jnp.inf))
    assert clean.noise_std == 0
    np.testing.assert_allclose(clean.kspace, fftc(clean.maps * clean.image), atol=1e-6)


def test_same_key_same_scan_other_key_other_scan(scan):
    again = simulate(KEY, shape=SHAPE, n_coils=COILS)
    for a, b in zip(scan, again, strict=True):
        np.testing.assert_array_equal(a, b)
    other = jax.device_get(simulate(jax.random.key(4), shape=SHAPE, n_coils=COILS))
    for name in ("image", "maps", "kspace"):
        assert np.abs(getattr(scan, name) - getattr(other, name)).max() > 0.05


def test_slices_of_one_subject_share_coils_and_not_noise():
    scans = [jax.device_get(simulate(KEY, shape=SHAPE, n_coils=COILS, position=z)) for z in (0.2, 0.21, 0.6)]
    np.testing.assert_array_equal(scans[0].maps, scans[2].maps)
    head = np.abs(scans[2].image) > 0.05
    np.testing.assert_allclose(np.angle(scans[0].image)[head], np.angle(scans[2].image)[head], atol=1e-4)
    magnitude = [np.abs(s.image) for s in scans]
    near, far = (np.linalg.norm(magnitude[0] - magnitude[i]) for i in (1, 2))
    assert 0 < near < 0.4 * far
    noise = [s.kspace - fftc(s.maps * s.image) for s in scans]
    assert abs(np.vdot(noise[0], noise[1])) < 0.1 * np.linalg.norm(noise[0]) * np.linalg.norm(noise[1])


def test_batches_and_double_precision(x64):
    keys = jax.random.split(KEY, 3)
    batch = jax.eval_shape(
        jax.vmap(lambda key, z: simulate(key, shape=(16, 12), n_coils=2, position=z)), keys, jnp.ones(3)
    )
    assert batch.kspace.shape == (3, 2, 16, 12) and batch.kspace.dtype == jnp.complex128
    assert batch.noise_std.shape == (3,) and batch.noise_std.dtype == jnp.float64


def test_head_is_made_of_all_tissues_and_nothing_else(head):
    total = np.asarray(head).sum(1)
    assert np.min(head) > -1e-5 and total.max() < 1 + 1e-5
    assert (total[0] > 0.99).mean() > 0.4  # the head fills the picture ...
    assert total[:, 0].max() < 0.02 and total[:, :, 0].max() < 0.02  # ... and leaves a margin
    for name in HEAD_TISSUES:
        assert part(head, name).max() > 0.3, name
    size = total.sum((1, 2))
    assert (np.diff(size) < 0).all()  # towards the vertex


def test_head_layers_lie_in_order(head):
    """From the left border inwards: skin, fat, bone, marrow, bone, CSF, cortex, white matter."""
    row = np.asarray(head)[7, :, 32]
    order = [row[HEAD_TISSUES.index(name)].argmax() for name in ("muscle", "fat", "bone", "marrow")]
    half = row[:, :28]
    order = [half[HEAD_TISSUES.index(name)].argmax() for name in ("muscle", "fat", "marrow", "grey")]
    assert order == sorted(order) and len(set(order)) == 4


def test_cortex_is_folded(head):
    """Grey matter reaches deep: much more of it than a smooth rim of the cortex's thickness would hold."""
    grey, white = part(head[2], "grey"), part(head[2], "white")
    brain = grey + white + part(head[2], "deep_grey")
    radius = np.sqrt(brain.sum() / np.pi)
    rim = 2 * np.pi * radius * 2.8 / 190 * 65
    assert grey.sum() > 1.8 * rim
    assert 0.4 < grey.sum() / white.sum() < 1.6


def test_ventricles_and_nuclei_belong_to_the_lower_slices(head):
    middle = np.s_[24:42, 20:37]
    fluid = part(head, "csf")[:, *middle].sum((1, 2))
    assert fluid[0] > 10 and fluid[4] > 15 and fluid[7] < 0.7 * fluid[4]
    nuclei = part(head, "deep_grey").sum((1, 2))
    assert nuclei[0] > 60 and nuclei[8] < 1


def test_sides_differ(head):
    grey = part(head[2], "grey")
    assert np.abs(grey - grey[:, ::-1]).sum() > 0.3 * grey.sum()


def test_contrasts_look_like_their_names():
    signals = {
        name: dict(zip(HEAD_TISSUES, tissue_signals(c, HEAD_TISSUES), strict=True)) for name, c in CONTRASTS.items()
    }
    t1, t2, flair, pd = (signals[name] for name in ("t1", "t2", "flair", "pd"))
    assert t1["white"] > t1["deep_grey"] > t1["grey"] > t1["csf"] and t1["csf"] < 0.1 * t1["white"]
    assert t2["csf"] > t2["lesion"] > t2["grey"] > t2["white"]
    assert flair["lesion"] > flair["grey"] > flair["white"] > 2 * flair["csf"]
    assert pd["grey"] > pd["white"] and pd["csf"] > 0.4
    assert all(max(s.values()) == 1 and s["bone"] < 0.1 for s in signals.values())
    cine = dict(zip(CHEST_TISSUES, tissue_signals(CONTRASTS["bssfp"], CHEST_TISSUES), strict=True))
    assert cine["blood"] > 2 * cine["myocardium"] > 4 * cine["lung"]


@pytest.mark.parametrize("n_coils", [1, 4, 12])
def test_coils_are_smooth_local_and_normalised(n_coils):
    shape = (40, 33)
    maps = np.asarray(maps_of_coils(KEY, shape=shape, n_coils=n_coils))
    assert maps.shape == (n_coils, *shape) and maps.dtype == np.complex64
    np.testing.assert_allclose((np.abs(maps) ** 2).sum(0), 1, rtol=1e-5)
    inner = maps[:, 6:-6, 5:-5]
    assert max(np.abs(np.diff(inner, axis=axis)).max() for axis in (1, 2)) < 0.25
    if n_coils > 1:
        peaks = {tuple(np.unravel_index(np.abs(m).argmax(), shape)) for m in maps}
        assert len(peaks) > n_coils / 2
        assert (
            np.linalg.svd(inner.reshape(n_coils, -1), compute_uv=False)[-1] > 0.1
        )  # no coil is a mixture of the others
        assert np.ptp(np.unwrap(np.angle(maps[:, 20, 16]))) > 1  # coils around the object differ in phase


@pytest.mark.parametrize("z", [0.0, 0.25])
def test_coil_field_is_that_of_a_loop(x64, z):
    """On the axis of a single loop the field falls as (a^2 + d^2)^(-3/2): checked through two coils' ratio."""
    maps = np.asarray(maps_of_coils(KEY, shape=(64, 64), n_coils=2, z=z, n_segments=64))
    ratio = np.abs(maps[0] / maps[1])
    turn, _, width = np.asarray(jax.random.uniform(KEY, (3, 2), minval=-1, maxval=1))
    angle = 2 * np.pi * (np.arange(2) + 0.15 * turn) / 2 + 0.3
    radius = 0.8 * (1 + 0.1 * width)
    y, x = (np.mgrid[:64, :64] - 32) / 32

    def loop(c):
        phi = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        tangent = np.array([-np.sin(angle[c]), np.cos(angle[c]), 0])
        center = 1.25 * np.array([np.cos(angle[c]), np.sin(angle[c]), 0])
        wire = center + radius[c] * (np.cos(phi)[:, None] * tangent + np.sin(phi)[:, None] * np.array([0, 0, 1]))
        step = radius[c] * (-np.sin(phi)[:, None] * tangent + np.cos(phi)[:, None] * np.array([0, 0, 1]))
        away = np.stack([x, y, 0 * x + z], -1)[..., None, :] - wire
        field = (np.cross(step, away) / np.linalg.norm(away, axis=-1, keepdims=True) ** 3).sum(-2)
        return np.hypot(field[..., 0], field[..., 1])

    expected = loop(0) / loop(1)
    inside = np.hypot(x, y) < 0.8
    # the loops of the library have wires of finite thickness and stand up to 0.05 above the slice
    np.testing.assert_allclose(ratio[inside], expected[inside], rtol=0.1)


def test_phase_is_a_polynomial_of_low_order():
    draw = jax.jit(jax.vmap(lambda k, size: smooth_phase(k, shape=(24, 19), size=size, order=2), (0, None)))
    keys = jax.random.split(KEY, 200)
    phases = np.asarray(draw(keys, 0.5), np.float64)
    assert np.abs(np.diff(phases[:, :, 3], n=3, axis=1)).max() < 1e-5
    assert np.ptp(phases[:, 12, 9]) > 5  # the constant is uniform over the circle
    variation = phases - phases.mean((1, 2), keepdims=True)
    np.testing.assert_allclose(np.sqrt(np.mean(variation**2)), 0.5, rtol=0.15)
    assert np.ptp(draw(keys, 0.0), axis=(1, 2)).max() == 0


def test_noise_level(x64):
    noise = np.asarray(complex_noise(KEY, (200, 100), std=0.3))
    np.testing.assert_allclose([noise.real.std(), noise.imag.std()], 0.3 / np.sqrt(2), rtol=0.02)
    assert abs(np.mean(noise**2)) < 0.003  # circular


def test_heart_beats_and_conserves_its_wall(heart):
    total = np.asarray(heart).sum(1)
    assert np.min(heart) > -1e-5 and total.max() < 1 + 1e-5
    blood = part(heart, "blood", CHEST_TISSUES).sum((1, 2))
    muscle = part(heart, "myocardium", CHEST_TISSUES).sum((1, 2))
    assert blood.argmin() in (3, 4, 5) and blood.min() < 0.65 * blood[0]
    assert abs(muscle / muscle[0] - 1).max() < 0.35
    change = np.abs(np.diff(np.concatenate([heart, heart[:1]]), axis=0)).sum((1, 2, 3))
    assert change[-1] < 1.2 * change[:-1].max()  # the last frame leads to the first
    still = np.ptp(part(heart, "fat", CHEST_TISSUES)[:, 2:12], axis=0)
    assert still.max() < 1e-5  # the chest wall does not move
    for name in CHEST_TISSUES:
        assert part(heart, name, CHEST_TISSUES).max() > 0.3, name


def test_cine_measurement():
    scan = jax.device_get(simulate_cine(KEY, shape=(4, *SHAPE), n_coils=COILS, snr=20))
    assert scan.image.shape == (4, *SHAPE) and scan.maps.shape == (COILS, *SHAPE)
    assert scan.kspace.shape == (4, COILS, *SHAPE)
    noise = scan.kspace - fftc(scan.maps * scan.image[:, None])
    np.testing.assert_allclose(np.sqrt(np.mean(np.abs(noise) ** 2)), scan.noise_std, rtol=0.03)
    assert abs(np.vdot(noise[0], noise[1])) < 0.1 * np.linalg.norm(noise[0]) ** 2
    magnitude = np.abs(np.asarray(scan.image))
    assert np.ptp(magnitude, axis=0).max() > 0.2


def test_split_keeps_a_distance():
    parts = split_slices(50, gap=3)
    assert list(parts) == ["train", "validation", "test"]
    assert [len(r) for r in parts.values()] == [31, 6, 7]
    assert parts["validation"].start - parts["train"].stop == parts["test"].start - parts["validation"].stop == 3
    assert parts["train"].start == 0 and parts["test"].stop == 50
    with pytest.raises(ValueError, match="too few"):
        split_slices(6)
    with pytest.raises(ValueError, match="sum to 1"):
        split_slices(50, fractions=(0.8, 0.2, 0.2))


@pytest.fixture
def atlas():
    """Probability maps of a brain with a midline: grey rim, white inside, CSF between."""
    y, x = np.mgrid[:60, :50] - np.array([30, 25])[:, None, None]
    r = np.hypot(y / 26, x / 20)
    support = r < 1
    white = (r < 0.7).astype(np.float32)
    grey = ((r >= 0.7) & (r < 0.95)).astype(np.float32)
    return grey, white, support


def test_tissues_around_an_atlas(atlas):
    grey, white, support = atlas
    tissues = anatomy.tissues_from_probabilities(grey, white, support=support, pixel=2.0)
    assert tissues.shape == (len(HEAD_TISSUES), 76, 66) and tissues.dtype == np.float32
    assert tissues.min() > -1e-6 and tissues.sum(0).max() < 1 + 1e-6
    np.testing.assert_allclose(part(tissues, "white")[8:-8, 8:-8], white, atol=1e-6)
    line = tissues[:, 38]
    skin, fat, bone, fluid = (line[HEAD_TISSUES.index(n), :33].argmax() for n in ("muscle", "fat", "bone", "csf"))
    assert skin < fat < bone < fluid
    assert tissues.sum(0)[0].max() == 0 and tissues.sum(0)[38, 33] > 0.99
    with as_user(), pytest.raises(ValueError, match="one shape"):
        anatomy.tissues_from_probabilities(grey[1:], white, support=support)
    with pytest.raises(ValueError, match="empty"):
        anatomy.tissues_from_probabilities(grey, white, support=support & False)


def test_given_tissues_replace_the_phantom(atlas):
    grey, white, support = atlas
    tissues = jnp.asarray(anatomy.tissues_from_probabilities(grey, white, support=support, pixel=2.0))
    scan = simulate(KEY, shape=SHAPE, n_coils=COILS, tissues=tissues, contrast=CONTRASTS["t2"])
    assert scan.kspace.shape == (COILS, *SHAPE) and np.isfinite(scan.kspace).all()
    assert np.abs(scan.image).max() > 0.3
    other = simulate(jax.random.key(9), shape=SHAPE, n_coils=COILS, tissues=tissues, contrast=CONTRASTS["t2"])
    assert np.abs(np.abs(scan.image) - np.abs(other.image)).max() > 0.1
    with pytest.raises(ValueError, match="'white'"):
        simulate(KEY, shape=SHAPE, tissues=tissues[:3])


def test_deformation_is_moderate_and_off_at_zero(atlas):
    maps = jnp.asarray(np.stack(atlas[:2]))
    run = jax.jit(lambda amount: deform(KEY, maps, shape=(60, 50), amount=amount))
    np.testing.assert_allclose(run(0.0), maps, atol=1e-5)
    moved = run(1.0)
    assert np.abs(moved - maps).sum() > 0.05 * maps.sum()
    np.testing.assert_allclose(moved.sum(), maps.sum(), rtol=0.2)
    half = jax.jit(lambda: deform(KEY, maps, shape=(30, 25), amount=0.0))()
    np.testing.assert_allclose(4 * half.sum(), maps.sum(), rtol=0.1)


def test_template_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxrecon\[anatomy\]'"):
        anatomy.load_mni152()


def test_template_orientation(monkeypatch):
    """A stand-in for the template, (x, y, z) from left, posterior, inferior; grey matter only in front, on the left."""
    x, y, z = np.mgrid[:40, :50, :20] - np.array([20, 25, 10])[:, None, None, None]
    brain = ((x / 16) ** 2 + (y / 20) ** 2 + (z / 9) ** 2 < 1).astype(np.float32)
    volumes = {"template": brain, "gm_template": brain * (y > 5) * (x < -5), "wm_template": brain * (y < 0)}
    datasets = types.ModuleType("nilearn.datasets")
    for name, volume in volumes.items():
        image = types.SimpleNamespace(get_fdata=lambda volume=volume: volume)
        setattr(datasets, f"load_mni152_{name}", lambda resolution, image=image: image)
    package = types.ModuleType("nilearn")
    package.datasets = datasets
    monkeypatch.setitem(sys.modules, "nilearn", package)
    tissues = anatomy.load_mni152()
    assert tissues.shape[1:] == (len(HEAD_TISSUES), 82, 72) and 8 < len(tissues) < 20
    grey = part(tissues, "grey").sum(0)
    rows, columns = np.nonzero(grey > 0.5)
    assert rows.max() < 41 and columns.min() > 36  # anterior at the top, the patient's left at the right
    assert np.nonzero(part(tissues, "white").sum(0) > 0.5)[0].min() >= 40


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="n_coils is 0"):
        simulate(KEY, shape=SHAPE, n_coils=0)
    with pytest.raises(ValueError, match="positive"):
        simulate_cine(KEY, shape=(0, 8, 8))
