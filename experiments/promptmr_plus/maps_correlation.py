"""How much the coil maps of a slice resemble those of its neighbours: why PromptMR+ estimates them together.

    python experiments/promptmr_plus/maps_correlation.py --out experiments/promptmr_plus/results
    python experiments/promptmr_plus/maps_correlation.py --scan fastmri/multicoil_val/file1000000.h5 --out runs

Maps of each slice by ESPIRiT from the fully sampled center, 24 x 24; at each pixel where both slices have maps

  correlation = |sum_c conj(S_c) S'_c| / (|S| |S'|)

so that neither phase nor scale counts. The figure shows mean and smallest tenth over pixels against the distance of the
slices, beside it that of their magnitude images over the same pixels. Without --scan one simulated head, 2 mm from slice to
slice (its matrix taken as 240 mm long), with the maps that its coils, loops by the law of Biot and Savart, have in each slice.
"""

import argparse
import json
from pathlib import Path

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import jaxrecon as jr
from jaxrecon.coils import espirit
from jaxrecon.complex_ops import rss
from jaxrecon.data.simulate import coil_maps, complex_noise, simulate
from jaxrecon.fourier import fftc, ifftc

N_SLICES = 7
SLICE_DISTANCE, HALF_LENGTH, HEIGHT = 2.0, 120.0, 70.0
"""mm; the last from the basal ganglia (position 0 of the simulation) to the vertex (1)."""


def simulated() -> np.ndarray:
    """Full k-space (slice, coil, y, x) of neighbouring slices of one head."""
    shape, n_coils, kspace = (96, 80), 8, []
    head, coils, noise = jax.random.split(jax.random.key(0), 3)
    for i in range(N_SLICES):
        height = i * SLICE_DISTANCE
        scan = simulate(head, shape=shape, n_coils=1, position=0.25 + height / HEIGHT)
        maps = coil_maps(coils, shape=shape, n_coils=n_coils, z=height / HALF_LENGTH)
        drawn = complex_noise(jax.random.fold_in(noise, i), maps.shape, std=scan.noise_std)
        kspace.append(np.asarray(fftc(maps * scan.image) + drawn))
    return np.stack(kspace)


def measured(path: Path) -> np.ndarray:
    """The middle slices of a file."""
    with jr.data.open(path) as scan:
        first = max(len(scan) - N_SLICES, 0) // 2
        return np.stack([np.asarray(scan[i].kspace) for i in range(first, min(first + N_SLICES, len(scan)))])


def correlations(kspace: np.ndarray) -> dict[str, list[float]]:
    """Mean and 10th percentile over pixels by distance, and the correlation of the magnitude images."""
    maps = np.stack([np.asarray(espirit(k, crop=0.95)) for k in kspace])
    images = np.asarray(rss(ifftc(kspace)))
    norm = np.sqrt(np.sum(np.abs(maps) ** 2, axis=1))
    found: dict[str, list[float]] = {"distance": [], "mean": [], "tenth": [], "image": []}
    for distance in range(1, len(maps)):
        pixels, image = [], []
        for i in range(len(maps) - distance):
            j = i + distance
            both = (norm[i] > 0) & (norm[j] > 0)
            product = np.abs(np.sum(maps[i].conj() * maps[j], axis=0))[both] / (norm[i] * norm[j])[both]
            pixels.append(product)
            image.append(np.corrcoef(images[i][both], images[j][both])[0, 1])
        together = np.concatenate(pixels)
        values = (distance, together.mean(), np.quantile(together, 0.1), np.mean(image))
        for series, value in zip(found.values(), values, strict=True):
            series.append(float(value))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="fully sampled Cartesian scan; default: a simulated head")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    found = correlations(measured(options.scan) if options.scan else simulated())
    options.out.mkdir(parents=True, exist_ok=True)
    source = options.scan.name if options.scan else "simulated head"
    (options.out / "maps_correlation.json").write_text(json.dumps({"source": source, **found}, indent=1) + "\n")
    figure, axis = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
    for name, label in (("mean", "maps, mean"), ("tenth", "maps, lowest tenth above"), ("image", "magnitude images")):
        axis.plot(found["distance"], found[name], marker="o", ms=4, label=label)
    axis.set(xlabel="distance in slices", ylabel="correlation", title=source)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(options.out / "maps_correlation.png", dpi=130)
    print(", ".join(f"{d}: {c:.4f}" for d, c in zip(found["distance"], found["mean"], strict=True)))


if __name__ == "__main__":
    main()
