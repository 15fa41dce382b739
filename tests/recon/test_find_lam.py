"""lam is chosen by the error that the text names, on the slices that are given."""

import numpy as np
import pytest
from support.scans import fftc, object_and_maps

import jaxrecon as jr
from jaxrecon.recon import find_lam

IMAGE, MAPS = object_and_maps(shape=(33, 24))


def slice_of(noise, seed=0):
    rng = np.random.default_rng(seed)
    kspace = fftc(IMAGE * MAPS)
    kspace = kspace + noise * (rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape))
    mask = np.arange(24) % 2 == 0
    mask[8:16] = True
    return jr.Problem.from_numpy((kspace * mask).astype(np.complex64), mask=mask, maps=MAPS)


def test_the_smallest_error_is_chosen_and_noise_wants_more():
    lams = [0.0, 0.01, 0.1, 1.0, 10.0]
    quiet, noisy = (
        find_lam([slice_of(noise), slice_of(noise, 1)], [IMAGE, IMAGE], method="cg-sense", lams=lams, n_iter=20)
        for noise in (1e-4, 0.3)
    )
    for found in (quiet, noisy):
        assert list(found.errors) == lams and found.errors[found.lam] == min(found.errors.values())
    assert quiet.lam < noisy.lam
    # the value is what reconstruct takes, and the error what it says
    one = find_lam([slice_of(0.3)], [IMAGE], method="cg-sense", lams=[0.1], n_iter=20)
    image = jr.reconstruct(slice_of(0.3), method="cg-sense", lam=0.1, n_iter=20).images
    error = np.sum((abs(image) - abs(IMAGE)) ** 2) / np.sum(abs(IMAGE) ** 2)
    assert one.errors[0.1] == pytest.approx(error, rel=1e-4)


def test_refused():
    problem = slice_of(0.1)
    for problems, targets, options, words in [
        ([], [], {}, "0 problems"),
        ([problem], [IMAGE, IMAGE], {}, "1 problems and 2 targets"),
        ([problem], [IMAGE], {"lams": []}, "among 0 lam"),
        ([problem], [IMAGE], {"method": "rss"}, "rss has no lam"),
        ([problem], [IMAGE], {"method": "cg-sense", "lams": [-1.0]}, "must not be negative"),
    ]:
        with pytest.raises(ValueError, match=words):
            find_lam(problems, targets, **options)
