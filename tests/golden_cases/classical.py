import re

import jax
import jax.numpy as jnp
import numpy as np
import pywt
from golden_case import Unknown, UnknownAlgorithmError

from jaxrecon import Problem, classical, coils
from jaxrecon.classical import fista, prox
from jaxrecon.fourier import crop_or_pad, fftc, ifftc
from jaxrecon.operators import Blocks, FiniteDifference, Wavelet, max_eigenvalue, pack


def conventions(case):
    config, x = case.config, jnp.asarray(case["w_x"])
    thresholds = {
        "soft": prox.soft_threshold,
        "hard": prox.hard_threshold,
        "l2proj": prox.project_l2,
        "l1proj": prox.project_l1,
        "svt": prox.singular_value_threshold,
    }
    differences = FiniteDifference()
    out = {"fd": differences @ x, "fd_adj": differences.normal(x)}
    for key in case.outputs:
        name = key.split("_")[0]
        if match := re.fullmatch(r"(fft|ifft|resize(\d+)x(\d+))_(\w+)", key):
            kind, *size, shape = match.groups()
            data = jnp.asarray(case[f"x_{shape}"])
            if size[0]:
                out[key] = crop_or_pad(data, [int(n) for n in size])
            else:
                out[key] = jax.jit({"fft": fftc, "ifft": ifftc}[kind])(data)
        elif match := re.fullmatch(r"w_(\w+?)(_level(\d+))?(_adj)?", key):
            wavelet = Wavelet(x.shape, match[1], int(match[3]) if match[3] else None)
            there_and_back = lambda x, w=wavelet: w.H @ (w @ x)
            out[key] = jax.jit(there_and_back if match[4] else lambda x, w=wavelet: pack(w @ x))(x)
        elif name in thresholds:
            out[key] = thresholds[name](x, config["thresholds"][key])
        elif key.startswith("array_to_blocks"):
            out[key] = Blocks(x.shape, tuple(config["blocks"]["size"]), tuple(config["blocks"]["stride"])) @ x
    return out


def cartesian_recon(case):
    config = case.config
    problem = Problem.from_numpy(case["ksp"], mask=case["mask"], maps=case["maps"])
    lam = config["sense"]["lam"]
    out = {}
    for key in case.outputs:
        if key == "sense_exact":
            out[key] = (
                _dense_sense(problem, lam)
                if case.precision == "float64"
                else classical.cg_sense(problem, lam=lam, n_iter=100)
            )
        elif match := re.fullmatch(r"sense_cg(\d+)", key):
            out[key] = classical.cg_sense(problem, lam=lam, n_iter=int(match[1]))
        elif match := re.fullmatch(r"l1_(\w+?)(_objective)?", key):
            image, curve = _l1(problem, config["l1"]["lam"], config["l1"]["iterations"], match[1], case["l1_alpha"])
            out[key] = curve if match[2] else image
    image, curve = _tv(problem, config["tv"]["lam"], config["tv"]["iterations"])
    return {**out, "tv": image, "tv_objective": curve}


def _dense_sense(problem, lam):
    """Many CG iterations: the exact solution to double precision."""
    return classical.cg_sense(problem, lam=lam, n_iter=400)


def _l1(problem, lam, n_iter, wavelet, step=None):
    start, one_step = classical.l1_wavelet_iteration(problem, lam=lam, wavelet=wavelet, step=step)
    transform = Wavelet(start.x.shape[-2:], wavelet)
    watch = lambda s: classical.objective(problem, s.x, lam * classical.l1_norm(transform @ s.x))
    state, curve = classical.iterate(one_step, start, n_iter=n_iter, watch=watch)
    return state.x, curve


def _tv(problem, lam, n_iter):
    start, one_step = classical.total_variation_iteration(problem, lam=lam)
    watch = lambda s: classical.objective(problem, s.x, lam * classical.l1_norm(FiniteDifference() @ s.x))
    state, curve = classical.iterate(one_step, start, n_iter=n_iter, watch=watch)
    return state.x, curve


def brain_full(case):
    """Every case by its package, algorithm and maps, as the configuration names them."""
    kspace, out = case["ksp"], {}
    for key, how in case.config["cases"].items():
        algorithm = how["algorithm"]
        if algorithm == "jsense_maps":
            maps = coils.jsense(kspace, lam=how["lam"], n_outer=how["iterations"])
        elif algorithm in ("cg_sense", "l1_wavelet_fista", "tv_pdhg", "espirit_maps"):
            maps = _maps(how["maps"], kspace)
        else:
            out[key] = Unknown(algorithm)
            continue
        step = how["decimation"]
        if algorithm.endswith("_maps"):
            out[key] = maps[..., ::step, ::step]
            continue
        problem = Problem.from_numpy(kspace, mask=case.config["sampling_mask"], maps=maps)
        if algorithm == "cg_sense":
            out[key] = classical.cg_sense(problem, lam=how["lam"], n_iter=how["iterations"])
            continue
        if algorithm == "tv_pdhg":
            image, curve = _tv(problem, how["lam"], how["iterations"])
        else:
            step_size = case["l1_alpha"] if "l1_alpha" in case.file.files else None
            image, curve = _l1(problem, how["lam"], how["iterations"], case.config["wavelet"], step_size)
        if key.endswith("_objective"):
            out[key] = curve
        else:
            out[key] = image[0] if image.ndim == 3 and case.file[key].ndim == 2 else image
    return out


def _maps(how, kspace):
    """Maps by the words of the configuration: "sigpy ESPIRiT, defaults", "BART ecalib -m2, defaults"."""
    if how.startswith("sigpy ESPIRiT"):
        return coils.espirit(kspace)
    if match := re.match(r"BART ecalib -m(\d)", how):
        # BART's defaults in our terms: -t 0.001 is the threshold 0.001 ** 0.5 on singular values, -c 0.8
        return coils.espirit(kspace, n_maps=int(match[1]), threshold=0.001**0.5, crop=0.8)
    raise UnknownAlgorithmError(how)


def wavelet_ista_fista(case):
    config = case.config
    problem = Problem.from_numpy(case["kspace"], mask=case["mask"], maps=case["smaps"])
    wavelet = pywt.Wavelet(config["wavelet"])
    out = {"dec_lo": wavelet.dec_lo, "dec_hi": wavelet.dec_hi}
    shape = problem.kspace.shape[-2:]
    transform = Wavelet(shape, config["wavelet"], config["levels"], periodic=config["mode"] == "periodization")
    approximation, *details = transform @ jnp.asarray(case["image"])
    finest = details[-1]
    bands = {"approx": approximation, "finest_v": finest[0], "finest_h": finest[1], "finest_d": finest[2]}
    out |= {f"image_wavelet_{name}": band for name, band in bands.items()}
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
        out[f"{name}_cost"] = np.asarray(costs)[1:]
    return out


HANDLERS = {
    ("classical", "conventions"): conventions,
    ("classical", "cartesian_recon"): cartesian_recon,
    ("classical", "brain_full"): brain_full,
    ("background", "wavelet_ista_fista"): wavelet_ista_fista,
}
