"""The README's picture: the measured head of the package, fully sampled, and reconstructed from every fourth line.

python experiments/figures/brain.py
"""

from pathlib import Path

import numpy as np

import jaxrecon as jr
from jaxrecon import host, plots

kspace = jr.data.example("brain")[0].kspace  # (coil, readout, phase encode)
n = kspace.shape[-1]
lines = np.arange(n) % 4 == 0
lines[n // 2 - 12 : n // 2 + 12] = True
images = {"all lines": host.rss(host.coil_images(kspace))}
for name, method in {"zero-filled": "zero-filled", "CG-SENSE": "cg-sense", "L1-wavelet": "l1-wavelet"}.items():
    images[name] = np.abs(jr.reconstruct(kspace, method=method, mask=lines).images[0])
images[f"lines, R = {n / lines.sum():.1f}"] = np.broadcast_to(lines, (n, n))
# turned, so that the forehead is at the top
figure = plots.image_grid({title: image.T for title, image in images.items()}, columns=5)
plots.save(figure, Path(__file__).with_name("brain.png"))
