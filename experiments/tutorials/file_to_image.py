"""Tutorial 1: from a file of k-space to images and their errors.

    python experiments/tutorials/file_to_image.py [FOLDER]

The file is the measured head that is part of the package: one slice, 16 coils, fully sampled, so that what is left out
below is known. Put the path of a file of your own into `jr.data.open`. The figure goes into FOLDER (default:
tutorial_figures). The cells (`# %%`) may be run one by one in an editor or a notebook.
"""

# %% Opened: lazy, one slice is read when it is asked for
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxrecon as jr
from jaxrecon import plots

# in a notebook the arguments are the kernel's
folder = Path(sys.argv[1] if sys.argv[1:] and not hasattr(sys, "ps1") else "tutorial_figures")
folder.mkdir(parents=True, exist_ok=True)

scan = jr.data.open(jr.data.example("brain").path)
print(scan)
kspace = scan[0].kspace  # (coil, y, x): y is the readout, x the phase encode
print(f"a slice: {kspace.shape} {kspace.dtype}, its axes {scan.header.slice_axes}, mask {scan[0].mask}: fully sampled")

# %% What is to be reached: all samples, without a model
# The root of the sum of squares of the coil images. Its values are tiny, in the units of the scanner; nothing below
# depends on them.
full = np.asarray(jnp.sqrt(jnp.sum(jnp.abs(jr.fourier.ifftc(kspace)) ** 2, axis=0)))
head = full > 0.1 * full.max()
print(f"reference: at most {full.max():.2e}; the head covers {100 * head.mean():.0f} % of the image")


# %% Undersampled
# Random columns and a fully sampled center; the nominal R is a mean, so what was drawn is measured.
def drawn(seed):
    """A mask of columns (x,)."""
    return jr.sampling.random_lines(jax.random.key(seed), kspace.shape[-1], acceleration=2.5, center_fraction=24 / 128)


mask = drawn(0)
acceleration = float(jr.sampling.measured_acceleration(mask))
print(f"mask: {int(mask.sum())} of {mask.size} columns, R = {acceleration:.2f}")


# %% Coil maps and the problem
def problem_of(mask):
    """What was measured, and the forward model A = mask F maps that explains it: all that any method is given."""
    measured = kspace * mask[None, None]  # (coil, y, x), 0 where not measured
    maps = jr.coils.espirit(measured, calib_size=24)  # from the sampled center
    return jr.Problem.from_numpy(measured, mask=mask, maps=maps)


problem = problem_of(mask)


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


def error(image):
    """The l2 error within the head, as a part of the reference."""
    return jnp.linalg.norm((image - full)[head]) / np.linalg.norm(full[head])


# %% lam: a number like any other
# lam is an argument, not a setting: vmap tries many at once (and grad would differentiate by it). It is chosen with
# another mask than the one that is scored below; for a study, choose it on other heads.
lams = 10.0 ** jnp.arange(-4, -0.5, 0.5)
other = problem_of(drawn(1))
best = {zero_filled: 0.0}
for method in (cg_sense, l1_wavelet):
    errors = jax.vmap(error)(jax.vmap(method, (None, 0))(other, lams))
    best[method] = lams[jnp.argmin(errors)]
    print(
        f"{method.__name__}: {100 * errors.min():.2f} % at lam = {best[method]:.4f}, {100 * errors.max():.2f} % at the worst"
    )

# %% Images and their errors
names = {"zero-filled": zero_filled, "CG-SENSE": cg_sense, "L1-wavelet": l1_wavelet}
images = {name: np.asarray(method(problem, best[method])) for name, method in names.items()}
found = {name: float(error(image)) for name, image in images.items()}

# %% Scores, by the rule of a named source
# A rule fixes crop, data range and reduction, and counts the whole image: where maps end, images are 0, while the
# reference still has the noise of all its coils. Within the head the same images are far better: only scores of one
# rule, over one region, may be compared.
scores = {name: jr.metrics.evaluate(full, image, variant="fastmri").volume for name, image in images.items()}
inside = {
    name: jr.metrics.evaluate(full * head, image * head, variant="fastmri").volume for name, image in images.items()
}
for name in images:
    print(
        f"{name:>15}: error {100 * found[name]:.2f} %; PSNR {scores[name]['psnr']:.2f} dB, within the head "
        f"{inside[name]['psnr']:.2f} dB"
    )

# %% The figure, turned so that the forehead is at the top
figure = plots.comparison(
    full.T,
    {name: image.T for name, image in images.items()},
    captions={name: f"error {100 * value:.1f} %" for name, value in found.items()},
    zoom=(slice(40, 72), slice(48, 80)),
    title=f"measured head, 16 coils, random columns, R = {acceleration:.1f}",
)
print("figure:", plots.save(figure, folder / "file_to_image.png"))

# %% All of it in one line, with the package's own choices
done = jr.reconstruct(scan, method="l1-wavelet", mask=mask)
print(f"jr.reconstruct: error {100 * float(error(np.abs(done.images[0]))):.2f} %, lam {done.settings.lam}")

# %% What was said, checked
assert scan[0].mask is None and kspace.all()
assert all(lams[0] < best[method] < lams[-1] for method in (cg_sense, l1_wavelet))  # the grid was wide enough
assert found["L1-wavelet"] <= found["CG-SENSE"] < 0.8 * found["zero-filled"]
assert all(inside[name]["psnr"] > scores[name]["psnr"] + 2 for name in ("CG-SENSE", "L1-wavelet"))
assert float(error(np.abs(done.images[0]))) < 1.5 * found["L1-wavelet"]
