"""Tutorial 1: from a file of k-space to images and their scores.

    python experiments/tutorials/file_to_image.py [FOLDER]

A scan is simulated and written as fastMRI lays its files out; from there on nothing knows that it was simulated: put
the path of a file of your own into `jr.data.open`. The scan and the figure go into FOLDER (default:
tutorial_figures). The cells (`# %%`) may be run one by one in an editor or a notebook.
"""

# %% A scan: three slices of one head, eight coils, fully sampled
import functools
import sys
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr
from jaxrecon import plots

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")
folder.mkdir(parents=True, exist_ok=True)

# A simulation is a pure function of its key: one key is one head, here cut at three positions.
subject = functools.partial(jr.data.simulate.simulate, jax.random.key(0), shape=(160, 128), n_coils=8, snr=25.0)
slices = [subject(position=position) for position in (0.2, 0.35, 0.5)]
truth = np.stack([np.abs(part.image) for part in slices])  # (slice, y, x), without noise

# %% Written as fastMRI writes it
with h5py.File(folder / "scan.h5", "w") as file:
    file["kspace"] = np.stack([part.kspace for part in slices])  # (slice, coil, readout, phase)
    file["reconstruction_rss"] = truth.astype(np.float32)
    file.attrs["max"] = truth.max()

# %% Opened: lazy, one slice is read when it is asked for
scan = jr.data.open(folder / "scan.h5")
print(scan)
print(f"the file's axes {scan.header.file_axes} are a slice's {scan.header.slice_axes} = (coil, y, x) here")

# %% Undersampled
# Random columns and a fully sampled center; the nominal R is a mean, so what was drawn is measured.
mask = jr.sampling.random_lines(jax.random.key(1), scan.header.shape[-1], acceleration=3, center_fraction=0.16)
acceleration = float(jr.sampling.measured_acceleration(mask))
print(f"mask: {int(mask.sum())} of {mask.size} columns, R = {acceleration:.2f}")


# %% Coil maps and the problem
def problem_of(kspace):
    """What was measured, and the forward model A = mask F maps that explains it: all that any method is given."""
    measured = kspace * mask[None, None]  # (coil, y, x), 0 where not measured
    maps = jr.coils.espirit(measured, calib_size=20)  # from the sampled center
    return jr.Problem.from_numpy(measured, mask=mask, maps=maps)


problems = [problem_of(part.kspace) for part in scan]


# %% Three methods, one signature: a problem in, an image out
def shown(problem, image):
    """Magnitude where there are maps: beyond them nothing is measured, and what a prior puts there means nothing."""
    return jnp.abs(image) * jnp.any(problem.op.maps != 0, axis=0)


@jax.jit
def zero_filled(problem, lam):
    return shown(problem, jr.classical.zero_filled(problem))


@jax.jit
def cg_sense(problem, lam):
    return shown(problem, jr.classical.cg_sense(problem, lam=lam, n_iter=20))


@jax.jit
def l1_wavelet(problem, lam):
    # the weight of a sparsity term has the units of the data: times `data_scale` it means the same for every scanner
    return shown(problem, jr.classical.l1_wavelet(problem, lam=lam * jr.classical.data_scale(problem), n_iter=60))


# %% lam: a number like any other
# lam is an argument, not a setting: vmap tries many at once (and grad would differentiate by it). It is chosen on the
# first slice, which is not scored below.
lams = 10.0 ** jnp.arange(-4, -0.5, 0.5)
best = {zero_filled: 0.0}
for method in (cg_sense, l1_wavelet):
    tried = jax.vmap(method, (None, 0))(problems[0], lams)
    errors = jax.vmap(lambda image: jr.metrics.nmse(jnp.asarray(truth[0]), image))(tried)
    best[method] = lams[jnp.argmin(errors)]
    print(f"{method.__name__}: NMSE {errors.min():.4f} at lam = {best[method]:.4f}, {errors.max():.4f} at the worst")

# %% Images of the other slices
images = {
    name: np.stack([method(problem, best[method]) for problem in problems[1:]])
    for name, method in {"zero-filled": zero_filled, "CG-SENSE": cg_sense, "L1-wavelet": l1_wavelet}.items()
}

# %% Scores, by the rule of a named source
# A rule fixes crop, data range and reduction. fastMRI's crops to the central square; a rule without a crop, of the same
# images, is as far away as another method: only scores of one rule may be compared.
scores = {name: jr.metrics.evaluate(truth[1:], volume, variant="fastmri").volume for name, volume in images.items()}
for name, score in scores.items():
    print(f"{name:>15}: PSNR {score['psnr']:.2f} dB, SSIM {score['ssim']:.3f}, NMSE {score['nmse']:.4f}")
uncropped = jr.metrics.evaluate(truth[1:], images["L1-wavelet"], variant="promptmr-plus-cmrxrecon").volume["psnr"]
print(f"the L1-wavelet images by a rule without a crop: PSNR {uncropped:.2f} dB")

# %% The figure
figure = plots.comparison(
    truth[1],
    {name: volume[0] for name, volume in images.items()},
    captions={name: f"PSNR {score['psnr']:.1f} dB, SSIM {score['ssim']:.3f}" for name, score in scores.items()},
    zoom=(slice(60, 100), slice(44, 84)),
    title=f"simulated head, 8 coils, random columns, R = {acceleration:.1f}",
)
print("figure:", plots.save(figure, folder / "file_to_image.png"))

# %% What was said, checked
assert np.array_equal(scan[2].kspace, slices[2].kspace)  # the file holds what was simulated
assert all(lams[0] < best[method] < lams[-1] for method in (cg_sense, l1_wavelet))  # the grid was wide enough
assert scores["zero-filled"]["psnr"] < scores["CG-SENSE"]["psnr"] < scores["L1-wavelet"]["psnr"]
square = (..., slice(16, 144), slice(None))  # fastMRI's crop of 160 x 128
for part, said in ((square, scores["L1-wavelet"]["psnr"]), (..., uncropped)):
    error = np.mean((truth[1:] - images["L1-wavelet"])[part] ** 2)
    assert abs(10 * np.log10(truth[1:][part].max() ** 2 / error) - said) < 1e-3
