"""The README's picture: a real 8-coil brain, zero-filled and reconstructed.

python experiments/figures/brain.py brain8ch_cartesian_ksp.npy
"""

import sys
from pathlib import Path

import numpy as np

import jaxrecon as jr
from jaxrecon import plots

kspace = jr.data.open(sys.argv[1])[0].kspace
problem = jr.Problem.from_numpy(kspace, maps=jr.coils.espirit(kspace))
scale = jr.classical.data_scale(problem)
images = {
    "zero-filled": jr.classical.zero_filled(problem),
    "CG-SENSE": jr.classical.cg_sense(problem, lam=0.01, n_iter=30),
    "L1-wavelet": jr.classical.l1_wavelet(problem, lam=0.003 * scale, n_iter=100),
    "mask, R = 8": problem.op.encoding.mask,
}
figure = plots.image_grid({title: np.abs(image) for title, image in images.items()}, columns=4)
plots.save(figure, Path(__file__).with_name("brain.png"))
