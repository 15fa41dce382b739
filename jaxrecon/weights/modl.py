"""The published weights of MoDL: TensorFlow checkpoints of the original network of five convolutions with batch norm.

Kernels are (y, x, in, out) there as here. Older files also have biases. What the optimizer keeps is passed over.

Source: Aggarwal, Mani, Jacob, IEEE TMI 2019; its code, whose names these are.
"""

from ..checks import UserError
from ..models.modl import MoDLConfig
from .mapping import Published, Rule, Shapes, count, size


def _config(shapes: Shapes) -> MoDLConfig:
    # nothing tells how often shared weights are applied: 10 times, as published (once in the first stage of training)
    return MoDLConfig(
        features=size(shapes, "Wts/Layer1/W", -1, MoDLConfig.features),
        layers=count(shapes, "Wts/Layer"),
        bias="Wts/Layer1/b" in shapes,
        norm="frozen" if any("/BN/" in name for name in shapes) else "none",
    )


def _rules(config: MoDLConfig) -> list[Rule]:
    if not config.shared or not config.learn_lam or config.ndim != 2:
        raise UserError("published weights of MoDL are those of a 2D network, shared by all steps, with learned lam")
    rules = []
    for i in range(config.layers):
        n_in, n_out = (2 if i == 0 else config.features), (2 if i == config.layers - 1 else config.features)
        layer, net = f"Wts/Layer{i + 1}", "steps/net/params"
        if config.norm != "none":
            for name, path in (
                ("beta", f"{net}/norm_{i}/bias"),
                ("gamma", f"{net}/norm_{i}/scale"),
                ("moving_mean", f"start/batch_stats/norm_{i}/mean"),
                ("moving_variance", f"start/batch_stats/norm_{i}/var"),
            ):
                rules.append(Rule(f"{layer}/BN/{name}", (n_out,), path))
        rules.append(Rule(f"{layer}/W", (3, 3, n_in, n_out), f"{net}/conv_{i}/kernel"))
        if config.bias:
            rules.append(Rule(f"{layer}/b", (n_out,), f"{net}/conv_{i}/bias"))
    # the older files, those with biases, hold lam as (1,)
    rules.append(Rule("Wts/lam1", (1,) if config.bias else (), "steps/lam", scalar=True))
    return rules


MODL = Published(
    "MoDL",
    _config,
    _rules,
    ignored=("*/Adam", "*/Adam_1", "*beta1_power", "*beta2_power"),
    option="modl",
    untold={"n_steps": "unrolled steps, which share their weights (default 10, as published)"},
    scale="maximum",  # of the zero-filled image: its training images had a maximum of 1
)
"""Weights of `models.modl`; the inferred configuration has n_steps = 10 and norm "frozen": for reconstruction."""
