"""Time of the masks: functions of a key beside their compatible forms, and SigPy's Poisson disc where it is installed.

python experiments/benchmarks/masks.py --out masks.json

The first call (compilation included) and the median of the later ones apart; about one minute on two cores.
"""

import argparse
import json
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from unittest import mock

import jax
import numpy as np

from jaxrecon import sampling
from jaxrecon.sampling import bridson, compatible

SHAPE = (320, 256)
ACCELERATION, CALIB = 12, (24, 24)
N_KEYS = 4


def timed(function, repeats):
    """Seconds of the first call, and the median of later ones; the argument counts up from 0."""
    seconds = []
    for i in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(function(i))
        seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "median_s": statistics.median(seconds[1:]), "repeats": repeats}


def poisson_by_key(key):
    return sampling.poisson_disc(key, SHAPE, acceleration=ACCELERATION, calib_size=CALIB)


def poisson_by_seed(seed):
    return compatible.poisson_disc(seed, SHAPE, acceleration=ACCELERATION, calib_size=CALIB)


def poisson_in_python(seed):
    with mock.patch.object(bridson, "kernel", lambda: bridson.sample_python):
        return poisson_by_seed(seed)


def lines_by_key(key):
    return sampling.random_lines(key, 368, acceleration=4, center_fraction=0.08)


def lines_by_seed(seed):
    return compatible.random_lines(seed, 368, acceleration=4, center_fraction=0.08)


def several(transform):
    """Masks of N_KEYS keys at once, by a transformation such as vmap."""
    return jax.jit(lambda i: transform(jax.random.split(jax.random.key(i), N_KEYS)))


def cases():
    """Name, function of a number, repeats."""
    out = [
        ("random_lines, key", jax.jit(lambda i: lines_by_key(jax.random.key(i))), 50),
        ("random_lines, compatible", lines_by_seed, 50),
        ("kt, key", lambda i: sampling.kt_variable_density(jax.random.key(i), 180, 20, acceleration=10), 20),
        ("kt, compatible", lambda i: compatible.kt_variable_density(i, 180, 20, acceleration=10), 20),
        ("poisson_disc, key", lambda i: poisson_by_key(jax.random.key(i)), 5),
        (f"poisson_disc, {N_KEYS} keys, vmap", several(jax.vmap(poisson_by_key)), 3),
        (f"poisson_disc, {N_KEYS} keys, lax.map", several(lambda keys: jax.lax.map(poisson_by_key, keys)), 3),
        ("poisson_disc, compatible, python", poisson_in_python, 3),
    ]
    if bridson.kernel() is not bridson.sample_python:
        out.append(("poisson_disc, compatible, numba", poisson_by_seed, 5))
    try:
        from sigpy.mri import poisson
    except ImportError:
        return out

    def rival(seed):
        return poisson(SHAPE, ACCELERATION, calib=CALIB, seed=seed, dtype=np.float32)

    return [*out, ("poisson_disc, sigpy", rival, 5)]


def versions(*names):
    out: dict[str, str | None] = {"python": platform.python_version()}
    for name in names:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = None
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    out = parser.parse_args().out
    results = {}
    for name, function, repeats in cases():
        results[name] = timed(function, repeats)
        print(
            f"{name:34}  first {results[name]['first_s']:8.3f} s   then {results[name]['median_s']:10.5f} s", flush=True
        )
    rival = results.get("poisson_disc, sigpy")
    if rival:
        for name, row in results.items():
            if name.startswith("poisson_disc") and "keys" not in name:
                row["sigpy_ratio"] = rival["median_s"] / row["median_s"]
                print(f"{name:34}  {row['sigpy_ratio']:.2f} times as fast as sigpy")
    if out:
        record = {
            "sizes": {"random_lines": 368, "kt": [180, 20], "poisson_disc": [*SHAPE]},
            "results": results,
            "machine": {"device": str(jax.devices()[0]), "cpu": platform.processor() or platform.machine()},
            "versions": versions("jaxrecon", "jax", "numpy", "numba", "sigpy"),
        }
        out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
