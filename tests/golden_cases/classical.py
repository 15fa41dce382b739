import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pywt
from golden_case import GoldenCase, Unknown, UnknownAlgorithmError

from jaxrecon import Problem, classical, coils
from jaxrecon.classical import fista, prox
from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.operators import Blocks, FiniteDifference, Wavelet, max_eigenvalue, pack


def conventions(case):
    images = {key: jnp.asarray(case[key]) for key in case.file.files if key.startswith("x_") or key == "w_x"}
    return jax.jit(lambda images: {key: _convention(case, key, images) for key in case.outputs})(images)


def _convention(case, key, images):
    """One output, by its name."""
    x, name, config = images["w_x"], key.split("_")[0], case.config
    thresholds = {
        "soft": prox.soft_threshold,
        "hard": prox.hard_threshold,
        "l2proj": prox.project_l2,
        "l1proj": prox.project_l1,
        "svt": prox.singular_value_threshold,
    }
    if key == "fd":
        return FiniteDifference() @ x
    if key == "fd_adj":
        return FiniteDifference().normal(x)
    if match := re.fullmatch(r"(fft|ifft|resize(\d+)x(\d+))_(\w+)", key):
        kind, *size, shape = match.groups()
        data = images[f"x_{shape}"]
        return crop_or_pad(data, [int(n) for n in size]) if size[0] else {"fft": fftc, "ifft": ifftc}[kind](data)
    if match := re.fullmatch(r"w_(\w+?)(_level(\d+))?(_adj)?", key):
        wavelet = Wavelet(x.shape, match[1], int(match[3]) if match[3] else None)
        return wavelet.H @ (wavelet @ x) if match[4] else pack(wavelet @ x)
    if name in thresholds:
        return thresholds[name](x, config["thresholds"][key])
    assert key.startswith("array_to_blocks"), key
    return Blocks(x.shape, tuple(config["blocks"]["size"]), tuple(config["blocks"]["stride"])) @ x


def cartesian_recon(case):
    config = case.config
    lam, l1, tv = config["sense"]["lam"], config["l1"], config["tv"]

    def reconstruct(problem, step):
        # the exact solution: many iterations, as many as the precision can use
        exact = 400 if case.precision == "float64" else 100
        out = {"sense_exact": classical.cg_sense(problem, lam=lam, n_iter=exact)}
        for n in config["sense"]["cg_iterations"]:
            out[f"sense_cg{n}"] = classical.cg_sense(problem, lam=lam, n_iter=n)
        for wavelet in l1["wavelets"]:
            image, curve = _l1(problem, l1["lam"], l1["iterations"], wavelet, step)
            out |= {f"l1_{wavelet}": image, f"l1_{wavelet}_objective": curve}
        image, curve = _tv(problem, tv["lam"], tv["iterations"])
        return out | {"tv": image, "tv_objective": curve}

    problem = Problem.from_numpy(case["ksp"], mask=case["mask"], maps=case["maps"])
    return jax.jit(reconstruct)(problem, case["l1_alpha"])


@functools.partial(jax.jit, static_argnames=("n_iter", "wavelet"))
def _l1(problem, lam, n_iter, wavelet, step=None):
    start, one_step = classical.l1_wavelet_iteration(problem, lam=lam, wavelet=wavelet, step=step)
    transform = Wavelet(start.x.shape[-2:], wavelet)
    watch = lambda s: classical.objective(problem, s.x, lam * classical.l1_norm(transform @ s.x))
    state, curve = classical.iterate(one_step, start, n_iter=n_iter, watch=watch)
    return state.x, curve


@functools.partial(jax.jit, static_argnames="n_iter")
def _tv(problem, lam, n_iter):
    start, one_step = classical.total_variation_iteration(problem, lam=lam)
    watch = lambda s: classical.objective(problem, s.x, lam * classical.l1_norm(FiniteDifference() @ s.x))
    state, curve = classical.iterate(one_step, start, n_iter=n_iter, watch=watch)
    return state.x, curve


_cg_sense = jax.jit(classical.cg_sense, static_argnames="n_iter")


def brain_full(case):
    """Every case by its package, algorithm and maps, as the configuration names them."""
    kspace, out = case["ksp"], {}

    @functools.cache
    def solve(algorithm, maps, lam, n_iter):
        """Image and objective, which are two cases."""
        problem = Problem.from_numpy(kspace, mask=case.config["sampling_mask"], maps=_maps(case, maps))
        if algorithm == "cg_sense":
            return _cg_sense(problem, lam=lam, n_iter=n_iter), None
        if algorithm == "tv_pdhg":
            return _tv(problem, lam, n_iter)
        step_size = case["l1_alpha"] if "l1_alpha" in case.file.files else None
        return _l1(problem, lam, n_iter, case.config["wavelet"], step_size)

    for key, how in case.config["cases"].items():
        algorithm, step = how["algorithm"], how["decimation"]
        if algorithm == "jsense_maps":
            maps = coils.jsense(kspace, lam=how["lam"], n_outer=how["iterations"])
            out[key] = maps[..., ::step, ::step]
        elif algorithm == "espirit_maps":
            out[key] = _maps(case, how["maps"])[..., ::step, ::step]
        elif algorithm in ("cg_sense", "l1_wavelet_fista", "tv_pdhg"):
            image, curve = solve(algorithm, how["maps"], how["lam"], how["iterations"])
            image = image[0] if image.ndim == 3 and case.file[key].ndim == 2 else image
            out[key] = curve if key.endswith("_objective") else image
        else:
            out[key] = Unknown(algorithm)
    return out


def _maps(case, how):
    return _maps_of_file(case.external_path("ksp"), case.precision, how)


@functools.lru_cache(maxsize=8)
def _maps_of_file(path, precision, how):
    """Maps by the words of the configuration: "sigpy ESPIRiT, defaults", "BART ecalib -m2, defaults".

    The files about one measurement share them.
    """
    kspace = GoldenCase(path, precision).cast(np.load(path))
    if how.startswith("sigpy ESPIRiT"):
        return np.asarray(coils.espirit(kspace, crop=0.95))
    if match := re.match(r"BART ecalib -m(\d)", how):
        # BART's defaults in our terms: -t 0.001 is the threshold 0.001 ** 0.5 on singular values, -c 0.8
        return np.asarray(coils.espirit(kspace, n_maps=int(match[1]), threshold=0.001**0.5, crop=0.8))
    raise UnknownAlgorithmError(how)


def wavelet_ista_fista(case):
    config = case.config
    problem = Problem.from_numpy(case["kspace"], mask=case["mask"], maps=case["smaps"])
    wavelet = pywt.Wavelet(config["wavelet"])
    out = jax.jit(functools.partial(_ista_fista, config))(problem, case["image"])
    return out | {"dec_lo": wavelet.dec_lo, "dec_hi": wavelet.dec_hi}


def _ista_fista(config, problem, image):
    shape = problem.kspace.shape[-2:]
    transform = Wavelet(shape, config["wavelet"], config["levels"], periodic=config["mode"] == "periodization")
    approximation, *details = transform @ image
    finest = details[-1]
    bands = {"approx": approximation, "finest_v": finest[0], "finest_h": finest[1], "finest_d": finest[2]}
    out = {f"image_wavelet_{name}": band for name, band in bands.items()}
    out["lipschitz"] = max_eigenvalue(problem.op.normal, jnp.ones(shape, problem.kspace.dtype), n_iter=50)
    zero_filled = classical.zero_filled(problem)
    gradient = lambda x: problem.op.normal(x) - zero_filled

    def shrink(x, step):
        keep = not config["threshold_approximation"]
        return classical.wavelet_prox(transform, x, step, lam=config["lam"], keep_approximation=keep)

    def watch(x):
        penalty = classical.l1_norm((transform @ x)[0 if config["threshold_approximation"] else 1 :])
        return x, classical.objective(problem, x, config["lam"] * penalty)

    n_iter = max(config["iterations"])
    zero = jnp.zeros_like(zero_filled)
    ista_step = lambda x: fista.ista_step(gradient, shrink, x, step=config["step"])
    fista_step = lambda s: fista.fista_step(gradient, shrink, s, step=config["step"])
    histories = {
        "ista": classical.iterate(ista_step, zero, n_iter=n_iter, watch=watch)[1],
        "fista": classical.iterate(fista_step, fista.fista_start(zero), n_iter=n_iter, watch=lambda s: watch(s.x))[1],
    }
    for name, (images, costs) in histories.items():
        out |= {f"{name}_{n}": images[n] for n in config["iterations"]}
        out[f"{name}_cost"] = costs[1:]
    return out


HANDLERS = {
    ("classical", "conventions"): conventions,
    ("classical", "cartesian_recon"): cartesian_recon,
    ("classical", "brain_full"): brain_full,
    ("background", "wavelet_ista_fista"): wavelet_ista_fista,
}
