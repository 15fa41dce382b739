"""The published weights of D5C5: an npz of NumPy arrays in a list, as Lasagne hands them over, hence named arr_0, arr_1 ...

A kernel and a bias in turn, cascade by cascade; kernels are (out, in, y, x) there and (y, x, in, out) here. That library may
flip kernels, by the device that it runs on; the file does not tell. Read as they stand, without a flip, they remove aliasing;
flipped ones do it as well, point-reflected.

Source: Schlemper et al. 2018; its code, models/pretrained/d5_c5.npz.
"""

from ..checks import UserError
from ..models.cascade import D5C5 as SIZES
from ..models.cascade import CascadeConfig
from .mapping import Published, Rule, Shapes, size

_CONVOLUTION = (2, 3, 1, 0)


def _config(shapes: Shapes) -> CascadeConfig:
    kernels = [shapes[name] for k in range(len(shapes)) if len(shapes.get(name := f"arr_{2 * k}", ())) == 4]
    layers = next((k + 1 for k, kernel in enumerate(kernels) if kernel[0] == 2), SIZES.layers)
    return CascadeConfig(
        n_steps=max(len(kernels) // layers, 1) if kernels else SIZES.n_steps,
        features=size(shapes, "arr_0", 0, SIZES.features),
        layers=layers,
        image="complex",
    )


def _rules(config: CascadeConfig) -> list[Rule]:
    if config.learn_consistency:
        raise UserError("published weights of D5C5 are those of a network whose data consistency is not learned")
    rules: list[Rule] = []
    for step in range(config.n_steps):
        for j in range(config.layers):
            n_in = 2 if j == 0 else config.features
            n_out = 2 if j == config.layers - 1 else config.features
            path = f"steps/image_net/params/conv_{j}"
            rules.append(Rule(f"arr_{len(rules)}", (n_out, n_in, 3, 3), f"{path}/kernel", _CONVOLUTION, step))
            rules.append(Rule(f"arr_{len(rules)}", (n_out,), f"{path}/bias", None, step))
    return rules


D5C5 = Published(
    "D5C5",
    _config,
    _rules,
    option="d5c5",
    untold={"image": "complex (the default) or magnitude, which it gives"},
    scale="maximum",  # of the zero-filled image: its training images had a maximum of about 1
)
"""Weights of `models.cascade`, with `models.D5C5` as its configuration."""
