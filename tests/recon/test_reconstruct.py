"""From Python what the command line does: a file, an array or a problem to pictures, with the choices that were made."""

from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import line_mask, measured, nrmse, object_and_maps
from support.type_check import as_user

import jaxrecon as jr
from jaxrecon import host
from jaxrecon.checks import UserError
from jaxrecon.cli import main
from jaxrecon.recon import slicewise
from jaxrecon.recon.network import Network

KSPACE, IMAGE = measured()
MAPS = object_and_maps()[1].astype(np.complex64)
QUICK = {"method": "cg-sense", "n_iter": 8}


def test_equals_the_command(tmp_path):
    """Same file, same numbers: images, maps and what was chosen."""
    path = write_fastmri(tmp_path / "scan.h5", KSPACE[None] * line_mask())
    assert (
        main(
            [
                "recon",
                str(path),
                "--out",
                str(tmp_path / "r.npy"),
                "--method",
                "cg-sense",
                "--iterations",
                "8",
                "--no-figure",
            ]
        )
        == 0
    )
    own = jr.reconstruct(path, **QUICK)
    np.testing.assert_array_equal(own.images, np.load(tmp_path / "r.npy"))
    assert own.settings.maps == "espirit" and own.settings.lam == 0.01
    assert own.maps.shape == (1, 4, *KSPACE.shape[-2:]) and own.scales.shape == (1,)
    np.testing.assert_array_equal(np.broadcast_to(own.masks[0], KSPACE.shape[-2:])[0], line_mask())
    with jr.data.open(path) as scan:
        np.testing.assert_array_equal(jr.reconstruct(scan, **QUICK).images, own.images)


def test_arrays_with_and_without_slices():
    """(coil, y, x) is one slice; maps and a mask beside them are used as they are."""
    one = jr.reconstruct(KSPACE, maps=MAPS, mask=line_mask(), lam=1e-4, **QUICK)
    assert one.images.shape == (1, *IMAGE.shape) and nrmse(one.images[0], IMAGE) < 0.1
    np.testing.assert_array_equal(one.maps[0], MAPS)
    named = {"axes": "slice,coil,y,x"}
    two = jr.reconstruct(np.stack([KSPACE, 2 * KSPACE]), maps=MAPS, mask=line_mask(), lam=1e-4, **named, **QUICK)
    np.testing.assert_allclose(two.images, [one.images[0], 2 * one.images[0]], rtol=1e-3, atol=1e-3)
    assert jr.reconstruct(np.stack([KSPACE] * 4), which=[2], method="rss").images.shape == (1, *IMAGE.shape)


def test_series_are_written_in_the_order_of_the_scan(tmp_path):
    """A network of frames gives (frame, slice, y, x), as classical methods of each slice do; files of it are read again."""
    kspace = KSPACE * np.arange(1, 7).reshape(3, 2, 1, 1, 1).astype(np.float32)
    named = {"axes": "frame,slice,coil,y,x"}
    network = Mock(spec=Network, in_time=True, window=None, needs_maps=False, estimates_maps=False, experiment=Mock())
    network.experiment.data.espirit_crop = 0.8
    network.reconstruct = lambda kspace, mask, maps, acs: (host.rss(host.coil_images(kspace)), 1.0)
    slices = jr.reconstruct(kspace, method="rss", **named)
    series = jr.reconstruct(kspace, network=network, **named)
    np.testing.assert_allclose(series.images.reshape(slices.images.shape), slices.images, rtol=1e-4, atol=1e-5)
    for suffix in (".npy", ".npz", ".h5", ".cfl", ".nii"):
        for done in (slices, series):
            path = jr.data.write_reconstruction(
                tmp_path / f"r{suffix}", done.images, header=done.header, overwrite=True
            )
            assert jr.evaluate(path, slices.images).volume["nmse"] < 1e-9
    with pytest.raises(ValueError, match=r"3 frames, expected \(frame, slice, y, x\)"):
        jr.data.write_reconstruction(tmp_path / "o.npy", series.images.swapaxes(0, 1), header=series.header)
    last = jr.reconstruct(kspace, network=network, which=[-1], **named)
    np.testing.assert_array_equal(last.images, series.images[:, -1:])
    with pytest.raises(IndexError, match="time series 2"):
        jr.reconstruct(kspace, network=network, which=[2], **named)


def test_settings_of_a_network_name_no_method():
    """What did not take part is not said, and refused where it is given."""
    network = Mock(spec=Network, in_time=False, window=None, needs_maps=False, estimates_maps=False, experiment=Mock())
    network.experiment.data.espirit_crop = 0.8
    network.reconstruct = lambda kspace, mask, maps, acs: (host.rss(host.coil_images(kspace)), 1.0)
    of_methods = ("method", "lam", "n_iter", "wavelet", "scale")
    found = jr.reconstruct(KSPACE, network=network).settings
    assert found.network is network and [getattr(found, name) for name in of_methods] == [None] * 5
    own = jr.reconstruct(KSPACE, n_iter=2).settings
    assert (own.method, own.scale) == ("l1-wavelet", "bart") and own.lam
    for name, value in zip(of_methods, ("rss", 0.0, 3, "db4", "none"), strict=True):
        with pytest.raises(UserError, match=f"{value}: .* a network is given"):
            jr.reconstruct(KSPACE, network=network, **{name: value})


@pytest.mark.parametrize(("method", "kind"), [("rss", "f"), ("cg-sense", "c")])
def test_an_empty_slice_changes_no_other(method, kind):
    kspace = np.stack([KSPACE, 0 * KSPACE])
    done = jr.reconstruct(kspace, axes="slice,coil,y,x", method=method, n_iter=8)
    one = jr.reconstruct(KSPACE, method=method, n_iter=8)
    np.testing.assert_array_equal(done.images, np.stack([one.images[0], 0 * one.images[0]]))
    assert done.images.dtype.kind == kind
    if one.maps is not None:
        np.testing.assert_array_equal(done.maps, np.stack([one.maps[0], 0 * one.maps[0]]))


def test_scores_of_arrays_of_any_kind():
    volume = np.abs(IMAGE[None])
    expected = jr.evaluate(0.9 * volume, volume).volume
    assert jr.evaluate(jnp.asarray(0.9 * volume), jnp.asarray(volume)).volume == pytest.approx(expected, rel=1e-4)
    with as_user():
        assert jr.evaluate(list(0.9 * volume), list(volume)).volume == expected


def test_a_problem_of_any_operator():
    problem = jr.Problem.from_numpy(KSPACE * line_mask(), mask=line_mask(), maps=MAPS)
    own = jr.reconstruct(problem, lam=1e-4, **QUICK)
    settings = jr.recon.Settings(lam=1e-4, **QUICK).complete(IMAGE.shape, n_coils=4, given_maps=True)
    image, scale = slicewise.reconstruct_problem(problem, settings)
    np.testing.assert_array_equal(own.images[0], image)
    assert own.scales[0] == scale > 0 and own.header is None


def test_wavelets_are_shifted():
    """Without their grid in the image, and by the same shifts each time."""
    problem = jr.Problem.from_numpy(KSPACE * line_mask(), mask=line_mask(), maps=MAPS)
    own, again = (jr.reconstruct(problem, n_iter=5, wavelet="haar", scale="none", lam=0.02) for _ in range(2))
    np.testing.assert_array_equal(own.images, again.images)
    options = {"lam": 0.02, "n_iter": 5, "wavelet": "haar"}
    spun = jr.classical.l1_wavelet_cycle_spun(problem, key=jax.random.key(0), **options)
    np.testing.assert_allclose(own.images[0], spun, atol=1e-5)
    assert np.abs(own.images[0] - jr.classical.l1_wavelet(problem, **options)).max() > 1e-2


def test_progress_is_the_callers():
    seen = []

    def watched(numbers):
        for i in numbers:
            seen.append(i)
            yield i

    jr.reconstruct(np.stack([KSPACE] * 4), method="rss", progress=watched)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (KSPACE, {"method": "grappa?"}, ["no method 'grappa?'", "zero-filled", "tv"]),
        (KSPACE.real, {}, ["complex", "(coil, y, x)", "float32"]),
        (KSPACE * line_mask(n_acs=2), {}, ["calibration region", "rss"]),
        (0 * KSPACE, {"method": "rss"}, ["signal"]),
        (KSPACE, {"maps": MAPS[:3]}, ["maps do not fit", "(4, 40, 33)", "(3, 40, 33)"]),
        (KSPACE, {"mask": np.ones((40, 30))}, ["mask does not fit", "(40, 33)"]),
        (jr.Problem.from_numpy(KSPACE), {}, ["maps", "operator has none"]),
    ],
)
def test_bad_input(source, options, words):
    with as_user(), pytest.raises(ValueError) as caught:
        jr.reconstruct(source, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
