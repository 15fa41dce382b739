"""fastMRI's published weights: the U-Net baseline and the end-to-end VarNet.

Convolutions are (out, in, y, x) there and (y, x, in, out) here; transposed convolutions (in, out, y, x) there and (y,
x, in, out) here, without a flip. Training checkpoints put `unet.` or `varnet.` before the names and add the window
`loss.w` of their loss.

Source: Zbontar et al. 2018; Sriram et al. 2020; the code of fastMRI (unet.py, varnet.py), whose names these are.
"""

from ..models.unet import UNetConfig
from ..models.varnet import VarNetConfig
from .mapping import Published, Rule, Shapes, count, size

_CONVOLUTION = (2, 3, 1, 0)
_TRANSPOSED = (2, 3, 0, 1)
_FIRST = "down_sample_layers.0.layers.0.weight"


def unet_rules(
    *, channels: int, features: int, pools: int, name: str = "", path: str = "", step: int | None = None
) -> list[Rule]:
    """Rules of one U-Net.

    Args:
      channels: channels in and out.
      features: channels of the first level.
      pools: levels.
      name: what stands before the published names.
      path: what stands before our paths.
      step: index along the leading axis of our leaves, if they have one.

    Returns:
      The rules, in the order of the published files.
    """

    def convolutions(published, own, n_in, n_out):
        shapes = [(n_out, n_in, 3, 3), (n_out, n_out, 3, 3)]
        return [
            Rule(f"{name}{published}.layers.{4 * j}.weight", s, f"{path}{own}/conv_{j}/kernel", _CONVOLUTION, step)
            for j, s in enumerate(shapes)
        ]

    widths = [features * 2**i for i in range(pools + 1)]
    rules = []
    for i in range(pools):
        rules += convolutions(f"down_sample_layers.{i}", f"down_{i}", widths[i - 1] if i else channels, widths[i])
    rules += convolutions("conv", "bottom", widths[pools - 1], widths[pools])
    for i, n in enumerate(reversed(widths[:pools])):
        last = i == pools - 1
        rules += convolutions(f"up_conv.{i}{'.0' if last else ''}", f"up_{i}", 2 * n, n)
    out = f"{name}up_conv.{pools - 1}.1"
    rules.append(Rule(f"{out}.weight", (channels, features, 1, 1), f"{path}out/kernel", _CONVOLUTION, step))
    rules.append(Rule(f"{out}.bias", (channels,), f"{path}out/bias", None, step))
    for i, n in enumerate(reversed(widths[:pools])):
        published = f"{name}up_transpose_conv.{i}.layers.0.weight"
        rules.append(Rule(published, (2 * n, n, 2, 2), f"{path}transpose_{i}/kernel", _TRANSPOSED, step))
    return rules


def _unet_config(shapes: Shapes) -> UNetConfig:
    return UNetConfig(features=size(shapes, _FIRST, 0, UNetConfig.features), pools=count(shapes, "down_sample_layers."))


def _unet_rules(config: UNetConfig) -> list[Rule]:
    return unet_rules(channels=1, features=config.features, pools=config.pools, path="steps/params/", step=0)


_SENS = "sens_net.norm_unet.unet."


def _varnet_config(shapes: Shapes) -> VarNetConfig:
    cascade = "cascades.0.model.unet."
    return VarNetConfig(
        n_steps=count(shapes, "cascades."),
        features=size(shapes, cascade + _FIRST, 0, VarNetConfig.features),
        pools=count(shapes, f"{cascade}down_sample_layers."),
        sens_features=size(shapes, _SENS + _FIRST, 0, VarNetConfig.sens_features),
        sens_pools=count(shapes, f"{_SENS}down_sample_layers."),
    )


def _varnet_rules(config: VarNetConfig) -> list[Rule]:
    rules = unet_rules(
        channels=2,
        features=config.sens_features,
        pools=config.sens_pools,
        name=_SENS,
        path="start/params/norm_unet/unet/",
    )
    for t in range(config.n_steps):
        rules.append(Rule(f"cascades.{t}.dc_weight", (1,), "steps/dc_weight", step=t, scalar=True))
        rules += unet_rules(
            channels=2,
            features=config.features,
            pools=config.pools,
            name=f"cascades.{t}.model.unet.",
            path="steps/net/params/unet/",
            step=t,
        )
    return rules


FASTMRI_UNET = Published(
    "fastMRI's U-Net",
    _unet_config,
    _unet_rules,
    ignored=("loss.w",),
    option="fastmri-unet",
)
"""Weights of `models.unet`, one channel in and out."""
E2E_VARNET = Published(
    "the end-to-end VarNet",
    _varnet_config,
    _varnet_rules,
    ignored=("loss.w",),
    option="e2e-varnet",
)
"""Weights of `models.varnet`."""
