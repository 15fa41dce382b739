import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from golden_case import Unknown, UnknownAlgorithmError

from jaxrecon import metrics
from jaxrecon.metrics import SSIMVariant


def volume_metrics(case):
    """All definitions on one volume, and GLEAM's on one complex slice: through `evaluate` and through the functions."""
    config = case.config
    if config["maxval"] != "max of gt (volume)" or config["ssim_covariance"] != "sample":
        raise UnknownAlgorithmError(f"maxval '{config['maxval']}', covariance '{config['ssim_covariance']}'")
    gt, pred = case["gt"], case["pred"]
    reference, prediction = case["complex_ref"], case["complex_pred"]
    window = SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])
    gaussian = _gaussian(config["gaussian"], window)
    cube = SSIMVariant(size=config["ssim_3d_window"], k1=window.k1, k2=window.k2, ndim=3)
    fastmri = metrics.evaluate(gt, pred, variant="promptmr-plus-cmrxrecon")
    raised = config["maxval_attr_factor"] * gt.astype(np.float64).max()
    attribute = metrics.evaluate(gt, pred, variant="promptmr-plus-cmrxrecon", data_range=raised)
    ramzi = metrics.evaluate(gt, pred, variant="ramzi")
    calgary = metrics.evaluate(gt, pred, variant="calgary")
    own = metrics.evaluate(gt, pred, variant="deep-jsense")
    assert window == metrics.VARIANTS["fastmri"].ssim  # `evaluate` must stand for this configuration
    by_evaluate = {
        "fastmri_nmse": fastmri.volume["nmse"],
        "fastmri_ssim": [fastmri.volume["ssim"]],
        "fastmri_ssim_maxval_attr": [attribute.volume["ssim"]],
        "fastmri_psnr_maxval_attr": attribute.volume["psnr"],
        "psnr_per_slice_own_max": own.per_slice["psnr"],
        "ssim_per_slice_volume_max": fastmri.per_slice["ssim"],
        "ssim_per_slice_own_max": own.per_slice["ssim"],
        "ramzi_psnr": ramzi.volume["psnr"],
        "ramzi_ssim": ramzi.volume["ssim"],
        "calgary_ssim": calgary.volume["ssim"],
        "calgary_psnr": calgary.volume["psnr"],
        "numpy_percentile95": np.percentile(np.abs(reference), config["percentile"]),
        "log_kernel_15_sigma1p5": metrics.log_kernel(config["hfen"]["size"], config["hfen"]["sigma"]),
    }

    def by_functions(gt, pred, reference, prediction):
        peak = gt.max()
        ssim_map = metrics.ssim_map(gt, pred, data_range=peak, variant=_as_in_fastmri_loss(window))
        per_slice = jax.vmap(lambda a, b: metrics.ssim(a, b, data_range=peak, variant=gaussian))
        out = {
            "fastmri_mse": metrics.mse(gt, pred),
            "fastmri_psnr": metrics.psnr(gt, pred, data_range=peak),
            "fastmri_ssim_float32": metrics.ssim(gt, pred, data_range=peak, variant=window)[None],
            "nmse_per_slice": jax.vmap(metrics.nmse)(gt, pred),
            "ssimloss_reduced": 1 - ssim_map.mean(),
            "ssimloss_map_slice0": 1 - ssim_map[0],
            "skimage_gaussian_sigma1p5": per_slice(gt, pred),
            "skimage_3d_win7": metrics.ssim(gt, pred, data_range=peak, variant=cube),
            "gleam_topmag_scale_p95": metrics.top_magnitude_scale(reference, percentile=1 - config["topmag_fraction"]),
        }
        return out | _hfen(config, gt, pred, peak) | _gleam(reference, prediction, gaussian)

    return by_evaluate | jax.jit(by_functions)(gt, pred, reference, prediction)


def _as_in_fastmri_loss(window):
    """The reference holds its weights in single precision whatever the images are."""
    n = window.size**2
    return dataclasses.replace(window, weight_sum=n * float(np.float32(1) / np.float32(n)))


def _gaussian(config, window):
    covariance = config["covariance"]
    if covariance not in ("population", "sample"):
        raise UnknownAlgorithmError(f"covariance '{covariance}'")
    radius = int(config["truncate"] * config["sigma"] + 0.5)
    return SSIMVariant(2 * radius + 1, config["sigma"], covariance == "sample", k1=window.k1, k2=window.k2)


def _hfen(config, gt, pred, peak):
    size, sigma = config["hfen"]["size"], config["hfen"]["sigma"]
    if config["hfen"]["padding"] != "zeros" or config["hfen_direct_scale"] != "1 / max(gt)":
        raise UnknownAlgorithmError(f"HFEN with {config['hfen']}, scale {config['hfen_direct_scale']}")
    out = {"hfen_ravishankar_per_slice": jax.vmap(lambda a, b: metrics.hfen(a, b, size=size, sigma=sigma))(gt, pred)}
    for order in (1, 2):
        for suffix, normalize in (("", False), ("_norm", True)):
            value = metrics.hfen_direct(gt / peak, pred / peak, order=order, normalize=normalize)
            out[f"hfen_l{order}_direct{suffix}"] = value
    return out


def _gleam(reference, prediction, window):
    magnitudes = jnp.abs(reference), jnp.abs(prediction)
    peak = magnitudes[0].max()
    out = {}
    for name, pair in (("mag", magnitudes), ("complex", (reference, prediction))):
        out[f"gleam_psnr_{name}"] = metrics.psnr(*pair, data_range=peak)
        out[f"gleam_nrmse_{name}"] = metrics.nrmse(*pair)
        out[f"gleam_rmse_{name}"] = metrics.rmse(*pair)
    span = peak - magnitudes[0].min()
    out["gleam_ssim_ref_range"] = metrics.ssim(*magnitudes, data_range=span, variant=window)
    out["gleam_ssim_ref_maxval"] = metrics.ssim(*magnitudes, data_range=peak, variant=window)
    return out


def gleam_metrics(case):
    """GLEAM's evaluation of one complex slice."""
    config = case.config
    if config["psnr_max"] != "max |target|":
        raise UnknownAlgorithmError(f"psnr_max '{config['psnr_max']}'")
    ssims = {name: _configured_ssim(config[name]) for name in ("ssim_wang", "ssim_old")}

    def evaluate(target, pred):
        magnitudes = jnp.abs(target), jnp.abs(pred)
        peak = magnitudes[0].max()
        return {
            "psnr": metrics.psnr(target, pred, data_range=peak),
            "psnr_mag": metrics.psnr(*magnitudes, data_range=peak),
            "nrmse": metrics.nrmse(target, pred),
            "nrmse_mag": metrics.nrmse(*magnitudes),
            "l2": metrics.rmse(target, pred),
            "top_magnitude_scale_of_pred": metrics.top_magnitude_scale(pred, percentile=config["scale_percentile"]),
            **{name: ssim(*magnitudes) for name, ssim in ssims.items() if callable(ssim)},
        }

    return ssims | jax.jit(evaluate)(case["target"], case["pred"])


def _configured_ssim(config):
    """The function (target, prediction) -> SSIM of a configuration, or Unknown."""
    ranges = {
        "max |target|": lambda target, pred: target.max(),
        "max |pred| - min |pred|": lambda target, pred: pred.max() - pred.min(),
        "max |target| - min |target|": lambda target, pred: target.max() - target.min(),
    }
    if config["data_range"] not in ranges or config["window"] not in ("uniform", "gaussian"):
        return Unknown(f"SSIM with {config['window']} window, data range {config['data_range']}")
    variant = SSIMVariant(k1=config["k1"], k2=config["k2"], size=config.get("size", 7))
    if config["window"] == "gaussian":
        variant = _gaussian(config, variant)
    span = ranges[config["data_range"]]
    return lambda target, pred: metrics.ssim(target, pred, data_range=span(target, pred), variant=variant)


def ssim_metrics(case):
    """fastMRI's SSIM loss with gradient, and its evaluation of a volume."""
    config = case.config
    found = config["window"], config["covariance"], config["border"]
    if found != ("uniform", "sample", "valid"):
        raise UnknownAlgorithmError(f"SSIM with {found}")
    window = SSIMVariant(size=config["ssim_window"], k1=config["ssim_k1"], k2=config["ssim_k2"])
    maxval = config["maxval_override"]
    name = f"maxval{maxval}".replace(".", "p")

    def loss_map(x, y, data_range):
        ssim_map = jax.vmap(lambda a, b, r: metrics.ssim_map(a, b, data_range=r, variant=_as_in_fastmri_loss(window)))
        return 1 - ssim_map(y, x, data_range)

    def evaluate(x, y, data_range, gt, pred):
        loss = lambda x: loss_map(x, y, data_range).mean()
        out = {
            "loss": loss(x),
            "one_minus_ssim_map": loss_map(x, y, data_range),
            "grad_X": jax.grad(loss)(x),
            "metric_mse": metrics.mse(gt, pred),
            "metric_nmse": metrics.nmse(gt, pred),
        }
        for suffix, peak in {"": gt.max(), f"_{name}": maxval}.items():
            out[f"metric_psnr{suffix}"] = metrics.psnr(gt, pred, data_range=peak)
            out[f"metric_ssim{suffix}"] = metrics.ssim(gt, pred, data_range=peak, variant=window)[None]
        return out

    return jax.jit(evaluate)(*(case[key] for key in ("X", "Y", "data_range", "volume_gt", "volume_pred")))


HANDLERS = {
    ("metrics", "metrics"): volume_metrics,
    ("gleam", "metrics"): gleam_metrics,
    ("varnet", "ssim_metrics"): ssim_metrics,
}
