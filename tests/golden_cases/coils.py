"""Handlers of the topic coils, and of classical JSENSE in double precision."""

import functools

import jax
import numpy as np
from golden_case import Error, Masked, Unknown

from jaxrecon import coils
from jaxrecon.fourier import crop_or_pad, ifftc


def _sigpy_espirit(case):
    config = case.config
    return coils.espirit_eigen(
        case["ksp"],
        calib_size=config["calib_width"],
        kernel_size=config["kernel_width"],
        threshold=config["thresh"],
        crop=0,
        n_maps=2,
    )


def espirit_sigpy(case):
    config = case.config
    result = jax.tree.map(np.asarray, _sigpy_espirit(case))
    value, gap = result.eigenvalues[0], result.eigenvalues[0] - result.eigenvalues[1]
    support, clear = value > config["crop"], gap > config["min_eigenvalue_gap"]
    maps = result.maps[0]
    mismatch = np.mean(support != (case.file["maps"] != 0).any(0))
    assert mismatch <= 1e-3, f"support differs in {mismatch:.2%} of the pixels"

    def matrix(kspace):
        calib = crop_or_pad(kspace, (config["calib_width"],) * (kspace.ndim - 1))
        return coils.calibration_matrix(calib, config["kernel_width"])

    return {
        "maps": Masked(maps * support[None], (support & clear)[None]),
        "maps_uncropped": Masked(maps, (support & clear)[None]),
        "eigenvalue": Masked(value[None], clear[None]),
        "singular_values": result.singular_values,
        "num_kernels": result.n_kernels,
        "calib_matrix_shape": jax.eval_shape(matrix, case["ksp"]).shape,
    }


def espirit_sigpy_decim(case):
    config = case.config
    maps = coils.espirit(
        case["ksp"],
        calib_size=config["calib_width"],
        kernel_size=config["kernel_width"],
        threshold=config["thresh"],
        crop=config["crop"],
    )
    step, maps = config["decimation"], np.asarray(maps)
    decimated = maps[:, ::step, ::step]
    both = (decimated != 0).any(0) & (case.file["maps_decim"] != 0).any(0)
    support = (maps != 0).any(0)
    assert list(support.shape) == list(config["support_shape"])
    return {"maps_decim": Masked(decimated, both[None]), "support": np.packbits(support)}


def _bart_espirit(case, crop):
    config = case.config
    assert config["threshold_kind"] == "sigma / sigma_max > sqrt(threshold)", config["threshold_kind"]
    return coils.espirit_eigen(
        case["ksp"],
        calib_size=config["calib"],
        kernel_size=config["kernel"],
        threshold=config["threshold"] ** 0.5,
        crop=crop,
        n_maps=config["num_maps"],
        soft=config["soft"],
        phase="principal",
    )


def espirit_bart(case):
    config = case.config
    result = _bart_espirit(case, config["crop"])
    step = config["decimation"]
    maps, values = np.asarray(result.maps)[..., ::step, ::step], np.asarray(result.eigenvalues)[:, ::step, ::step]
    reference = case.file["maps"]
    inner = np.abs((reference.conj() * maps).sum(1))
    both = (maps != 0).any(1) & (reference != 0).any(1)
    # the second set only where it is one: its eigenvalue above the crop that the notes name
    both[1:] &= (values[1:] > 0.8) & (case.file["eigenvalues"][1:] > 0.8)
    assert both[0].mean() > 0.9 * (reference[0] != 0).any(0).mean()
    first = np.arange(values.shape[0])[:, None, None] == 0
    return {
        # the support of all sets together: in the few pixels of a second set two eigenvalues are so close that the
        # reference's own error of its eigenvalues turns the pair
        "maps": Error(float(np.quantile((1 - inner)[both], 0.99))),
        "eigenvalues": Masked(values, np.broadcast_to(first, values.shape)),
    }


def espirit_bart_soft(case):
    config = case.config
    step = config["decimation"]
    result = _bart_espirit(case, 0.8 if config["crop"] is None else config["crop"])
    maps, values = np.asarray(result.maps)[..., ::step, ::step], np.asarray(result.eigenvalues)[..., ::step, ::step]
    low = functools.partial(coils.low_resolution_maps, calib_size=config["caldir_width"], window="kaiser", beta=4)
    caldir = np.asarray(jax.jit(low)(case["ksp"]))[..., ::step, ::step]

    def norm(x, axis):
        return np.linalg.norm(x, axis=axis)

    weight = norm(maps[0], 0) - norm(case.file["maps_soft"][0], 0)
    reference = case.file["caldir"]
    inner = np.abs((reference.conj() * caldir).sum(0)) / np.maximum(norm(reference, 0) * norm(caldir, 0), 1e-12)
    limits = {"maps_soft": 5e-3, "eigenvalues_soft": 5e-3, "caldir": 1e-4}
    errors = {
        "maps_soft": np.abs(weight).max(),
        "eigenvalues_soft": np.abs(values[0] - case.file["eigenvalues_soft"][0]).max(),
        "caldir": (1 - inner).max(),
    }
    return {name: Error(float(error / limits[name])) for name, error in errors.items()}


def jsense(case):
    result = _jsense(case)
    reference = case.file["maps"]
    maps = np.asarray(result.maps)
    if "ksp" in case.meta.get("external_inputs", {}):
        # the k-space is that of an ESPIRiT file: measured data, whose maps mean something in the object only
        support = np.load(case.external_path("ksp"))["maps"]
        maps = Masked(maps, np.broadcast_to((support != 0).any(0)[None], reference.shape))
    return {"maps": maps, "mps_ker": result.map_kernels, "img_ker": result.image_kernel}


def _jsense(case, n_outer=None):
    config = case.config
    return coils.jsense_kernels(
        case["ksp"],
        kernel_width=config["mps_ker_width"],
        calib_size=config["ksp_calib_width"],
        lam=config["lamda"],
        n_outer=n_outer or config["max_iter"],
        n_cg=config["max_inner_iter"],
        normalize=config["normalize"],
    )


def jsense_sigpy(case):
    out = {}
    last, first = _jsense(case), _jsense(case, 1)
    for suffix, result in (("", last), ("_1", first)):
        out |= {f"map_kernel{suffix}": result.map_kernels, f"image_kernel{suffix}": result.image_kernel}
    return out | {"maps": last.maps, "weights": last.weights, "y_cal": last.calib}


def walsh_inati(case):
    config = case.config
    window = (config["smoothing"], 1) if config["inati_x_axis_quirk"] else config["smoothing"]

    def combine(kspace):
        images = ifftc(kspace)
        found = coils.walsh(images, window=config["smoothing"], n_iter=config["walsh_niter"])
        combined = coils.inati(images, window=window, n_iter=config["inati_niter"], threshold=config["inati_thresh"])
        return {
            "walsh_maps": found.maps,
            "walsh_rho": found.power,
            "inati_combined": combined.image,
            "rss": coils.rss(images),
        }

    return jax.jit(combine)(case["ksp"])


def prewhitening(case):
    def whitened(noise, data):
        ismrmrd = coils.whitening_matrix(noise, scale_factor=case.config["scale_factor"])
        bart = coils.whitening_matrix(noise, form="bart")
        return {
            "dmtx": ismrmrd,
            "whitened": coils.whiten(data, ismrmrd),
            "bart_optmat": bart,
            "bart_cov": coils.noise_covariance(noise).T,
            "bart_whitened": coils.whiten(data, bart),
        }

    return jax.jit(whitened)(case["noise"], case["data"])


def coil_compression(case):
    config, n_virtual, calib = case.config, case.config["num_virtual"], case.config["calib"]
    axis = {"last": -1, "first": 1}[config["readout_axis"]]

    def compressed(kspace, reference):
        """The matrices, k-space by the first, by both of the second kind."""
        svd = coils.svd_compression(kspace, n_virtual=kspace.shape[0], calib_size=calib)
        gcc = coils.gcc_compression(kspace, n_virtual=n_virtual, calib_size=calib, readout_axis=axis)
        by_gcc = (coils.compress(kspace, matrix, readout_axis=axis) for matrix in (gcc, reference))
        return svd, coils.compress(kspace, svd[:n_virtual]), *by_gcc

    # the reference's matrix is stored for application with its conjugate
    theirs = case.cast(case.file["gcc_matrix"][:n_virtual].conj())
    svd, by_svd, own, theirs = map(np.asarray, jax.jit(compressed)(case["ksp"], theirs))

    def kept(kspace):
        return float(np.sum(np.abs(kspace) ** 2) / np.sum(np.abs(case["ksp"]) ** 2))

    assert n_virtual != 4 or kept(own) >= 0.995
    others = {name for name in case.outputs if name.split("_")[0] not in ("svd", "gcc")}
    return {name: Unknown(name.split("_")[0]) for name in others} | {
        "svd_matrix": svd.conj(),
        f"svd_ksp{n_virtual}": by_svd,
        "gcc_matrix": Error(abs(kept(own) - kept(theirs))),
        f"gcc_ksp{n_virtual}": Error(abs(kept(own) - kept(case.file[f"gcc_ksp{n_virtual}"]))),
    }


HANDLERS: dict = {
    ("coils", "espirit_sigpy"): espirit_sigpy,
    ("coils", "espirit_sigpy_decim"): espirit_sigpy_decim,
    ("coils", "espirit_bart"): espirit_bart,
    ("coils", "espirit_bart_soft"): espirit_bart_soft,
    ("coils", "jsense"): jsense,
    ("coils", "walsh_inati"): walsh_inati,
    ("coils", "prewhitening"): prewhitening,
    ("coils", "coil_compression"): coil_compression,
    ("deep_jsense", "jsense_sigpy"): jsense_sigpy,
}
