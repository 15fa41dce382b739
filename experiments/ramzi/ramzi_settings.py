"""The settings of Ramzi's benchmark and of his entries for fastMRI; files xpdnet_*.py and updnet_*.py each name one of the latter.

Benchmark, published: fastMRI single-coil knee, the 8 innermost slices of 973 volumes, one of each volume in an epoch, random
masks drawn anew, R = 4, 300 epochs, Adam with each variable's gradient clipped to norm 1, rate 1e-3, L1 loss, data times 1e6.
KIKI-net: one network after the other, 50 epochs each, rate a tenth after each third. Deviations: here an epoch has each slice
once (as many updates as there), the 8 slices are counted from the start of a volume, the target of a network in k-space is
compared by its squared error (the same in the image), kernels of the U-Net begin with Glorot's distribution, not He's.

`small` keeps the depth of every network and the ratio of their widths (a quarter of the features), masks, loss and rule of the
evaluation. All rows have the same slices and as many updates, KIKI-net's a quarter of them for each of its networks; Adam's rate
falls to zero along a cosine, and the average of the weights is scored. The rate was not searched: 2e-3 for all.
PDNet keeps its ten buffers and has then more parameters than the Cascade net, not fewer.
Their data are made as those of OASIS: magnitude slices, whose FFT is the k-space.
"""

import dataclasses
from typing import Any

from jaxrecon.experiment import DataConfig, Every, Experiment, SimulatedHeads
from jaxrecon.experiment.catalog import small as smaller
from jaxrecon.models import (
    PDNET_BENCHMARK,
    UPDNET_KNEE,
    XPDNET_BRAIN_2020,
    CascadeConfig,
    KIKIConfig,
    MagnitudeUNetConfig,
    ModelConfig,
)
from jaxrecon.nn import MWCNNConfig
from jaxrecon.strategies import Blockwise, Checkpointed
from jaxrecon.training.optimizers import AdamCosine, BenchmarkAdam, RamziRAdam

VOLUMES, EPOCHS, KIKI_EPOCHS = 973, 300, 4 * 50
INNERMOST = (14, 22)
"""The 8 innermost of the 36 slices that a knee has on average."""
KIKI_ORDER = ("K1", "I1", "K2", "I2")
NETWORKS: dict[str, ModelConfig] = {
    "kiki": KIKIConfig(),
    "unet": MagnitudeUNetConfig(),
    "cascade": CascadeConfig(),
    "pdnet": PDNET_BENCHMARK,
}
SMALL_NETWORKS: dict[str, ModelConfig] = {
    "kiki": KIKIConfig(features=12),
    "unet": MagnitudeUNetConfig(features=(4, 8, 16, 32), crop=None),
    "cascade": CascadeConfig(features=12),
    "pdnet": dataclasses.replace(PDNET_BENCHMARK, features=8),
}
SMALL_DATA = SimulatedHeads(heads=48, validation_heads=4, slices=4, shape=(64, 56), coils=1, snr=50.0)
SMALL_UPDATES = 6000
DEPTHS = (2, 4, 6, 8)
"""Iterations of further PDNets; the benchmark's has 10."""
BRAINS, BRAIN_EPOCHS = 4469, 100
CONTRASTS = {"AXFLAIR": 344, "AXT1POST": 949, "AXT1PRE": 250, "AXT1": 248, "AXT2": 2678}
"""Volumes of each contrast in fastMRI's brains for training."""
FINE_TUNING_EPOCHS = 10
_SMALL_XPDNET = dataclasses.replace(
    XPDNET_BRAIN_2020, n_steps=4, n_primal=3, center=0.1, refiner="small", denoiser=MWCNNConfig((16, 32), (2, 2), 16, 1)
)
_SMALL_UPDNET = dataclasses.replace(
    UPDNET_KNEE, n_steps=4, n_primal=3, center=0.1, refiner="small", features=(4, 8, 16)
)

Stages = tuple[Experiment, ...]
"""Trainings, each from the weights of the one before."""


def rows(*, small: bool, n_updates: int | None = None) -> dict[str, Stages]:
    """Name of the row -> its trainings.

    Args:
      small: small networks on simulated heads.
      n_updates: updates of a row in all; None: 6000 of small ones, else as published.
    """
    whole = {name: benchmark(name, small=small) for name in NETWORKS}
    for n_steps in DEPTHS:
        model = dataclasses.replace(whole["pdnet"].model, n_steps=n_steps)  # type: ignore[type-var]
        whole[f"depth_{n_steps}"] = dataclasses.replace(whole["pdnet"], model=model)
    if n_updates is not None:
        whole = {name: _of_length(experiment, n_updates) for name, experiment in whole.items()}
    return {name: kiki_stages(one) if name == "kiki" else (one,) for name, one in whole.items()}


def benchmark(name: str, *, small: bool) -> Experiment:
    """A network of the benchmark; of KIKI-net all of it, with the updates of its four stages."""
    in_stages = name == "kiki"
    full = Experiment(
        NETWORKS[name],
        optimizer=BenchmarkAdam(in_thirds=in_stages),
        loss="l1",
        n_updates=VOLUMES * (KIKI_EPOCHS if in_stages else EPOCHS),
        every=Every(evaluate=10 * VOLUMES, checkpoint=VOLUMES),
        data=DataConfig(
            acceleration=4.0,
            acs=0.08,
            n_masks=None,
            slices=INNERMOST,
            # the U-Net learns in units of its own input
            scale="instance_std" if name == "unet" else "1e-6",
        ),
        variant="ramzi",
    )
    if not small:
        return full
    # simulated heads have a maximum of about 1
    data = dataclasses.replace(full.data, slices=None, scale="instance_std" if name == "unet" else "none")
    found = dataclasses.replace(
        smaller(full, SMALL_NETWORKS[name]),
        optimizer=AdamCosine(2e-3),
        ema_decay=0.99,
        data=data,
        simulated=SMALL_DATA,
    )
    return _of_length(found, SMALL_UPDATES)


def kiki_stages(whole: Experiment) -> Stages:
    """KIKI-net's greedy recipe: each of its four networks by itself, those before it as they are."""
    stages = []
    for i, last in enumerate(KIKI_ORDER):
        in_kspace = last.startswith("K")
        stages.append(
            dataclasses.replace(
                _of_length(whole, whole.n_updates // len(KIKI_ORDER)),
                model=dataclasses.replace(whole.model, last=last),  # type: ignore[type-var]
                strategy=Blockwise(i // 2, i // 2),
                loss="mse" if in_kspace else "l1",
                freeze=("steps/image_net" if in_kspace else "steps/kspace_net",),
            )
        )
    return tuple(stages)


def xpdnet_brain(acceleration: int, *, small: bool, **model: Any) -> Experiment:
    """XPDNet on fastMRI's multi-coil brains, all contrasts: the released network, or with another refiner that of the submission."""
    full = dataclasses.replace(XPDNET_BRAIN_2020, center=_center(acceleration), **model)
    n_updates = BRAINS * BRAIN_EPOCHS
    smaller_model = _SMALL_XPDNET if small else None
    return _entry(full, acceleration, mask="equispaced-fraction", n_updates=n_updates, small=smaller_model)


def xpdnet_knee(acceleration: int, *, small: bool) -> Experiment:
    """The same network on knees; no such run is documented: mask and crop are the leaderboard's, epochs those of the brains."""
    model = dataclasses.replace(XPDNET_BRAIN_2020, center=_center(acceleration))
    n_updates = VOLUMES * BRAIN_EPOCHS
    return _entry(model, acceleration, mask="random", n_updates=n_updates, small=_SMALL_XPDNET if small else None)


def updnet_knee(acceleration: int, *, small: bool) -> Experiment:
    """UPDNet on fastMRI's multi-coil knees; epochs of the first training are not documented, here those of the brains."""
    model = dataclasses.replace(UPDNET_KNEE, center=_center(acceleration))
    n_updates = VOLUMES * BRAIN_EPOCHS
    return _entry(model, acceleration, mask="random", n_updates=n_updates, small=_SMALL_UPDNET if small else None)


def fine_tuning_updates(contrast: str) -> int:
    """Updates of the last stage: half of the contrast's volumes in an epoch."""
    return CONTRASTS[contrast] // 2 * FINE_TUNING_EPOCHS


def _center(acceleration: int) -> float:
    """Part of k-space that is fully sampled, and that coil maps are made of."""
    return 32 // acceleration / 100


def _entry(
    model: ModelConfig, acceleration: int, *, mask: str, n_updates: int, small: ModelConfig | None
) -> Experiment:
    """The published setting; with a small network, that on simulated heads."""
    full = Experiment(
        model,
        strategy=Checkpointed(),
        optimizer=RamziRAdam(1e-4),
        loss="l1_ms_ssim",
        n_updates=n_updates,
        every=Every(evaluate=n_updates // 20, checkpoint=n_updates // 100),
        data=DataConfig(
            mask=mask,
            acceleration=float(acceleration),
            acs=_center(acceleration),
            n_masks=None,
            scale="1e-6",
        ),
    )
    if small is None:
        return full
    # 4 % of 80 columns are too few for maps
    data = dataclasses.replace(full.data, acs=0.1, n_masks=8, scale="maximum")
    return dataclasses.replace(smaller(full, small), data=data)


def _of_length(experiment: Experiment, n_updates: int) -> Experiment:
    """The same with so many updates, validated ten times."""
    due = max(n_updates // 10, 1)
    return dataclasses.replace(experiment, n_updates=n_updates, every=Every(evaluate=due, checkpoint=due, log=10))
