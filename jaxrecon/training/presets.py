"""Built-in experiments: the published networks, and small ones of the same kinds for minutes on two cores."""

import dataclasses
from typing import Any

from ..models import (
    MODL_2D_GLEAM,
    MODL_3D_GLEAM,
    PGD_3D_CINE,
    VARNET_DEMO,
    DeepJSenseConfig,
    MoDLConfig,
    PGDConfig,
    PromptMRConfig,
    PromptMRPlusConfig,
    UNetConfig,
    VarNetConfig,
)
from .experiment import Experiment, SimulatedHeads
from .networks import ModelConfig


def _cine(model: ModelConfig) -> Experiment:
    return Experiment(model, optimizer="gleam", mask="kt-variable-density", acceleration=10.0, scale="top_magnitude")


PRESETS = {
    "unet": Experiment(UNetConfig(), loss="l1", optimizer="fastmri_unet", scale="instance_std"),
    "varnet": Experiment(VARNET_DEMO, loss="ssim", optimizer="fastmri_varnet"),
    "modl": Experiment(MoDLConfig(), loss="mse", optimizer="modl", mask="poisson", acceleration=6.0),
    "modl-gleam": Experiment(MODL_2D_GLEAM, optimizer="gleam", mask="poisson", scale="top_magnitude"),
    "pgd": Experiment(PGDConfig(), optimizer="gleam", mask="poisson", scale="top_magnitude"),
    "modl-cine": _cine(MODL_3D_GLEAM),
    "pgd-cine": _cine(PGD_3D_CINE),
    "deep-jsense": Experiment(
        DeepJSenseConfig(), strategy="checkpointed", loss="ssim", optimizer="deep_jsense", scale="kspace_maximum"
    ),
    "promptmr": Experiment(PromptMRConfig(), strategy="checkpointed", loss="ssim", optimizer="promptmr", scale="none"),
    # with gleam or p_gleam: modules of two cascades, else its latent never learns
    "promptmr-plus": Experiment(
        PromptMRPlusConfig(), strategy="checkpointed", loss="ssim", optimizer="promptmr", scale="none"
    ),
}
"""`--model NAME`: the published networks; data, mask and length of training are to be chosen."""
_SMALL_PROMPTS: dict[str, Any] = {
    "n_adjacent": 3,
    "features": 8,
    "level_features": (12, 16),
    "prompt_features": (4, 8),
    "sens_features": 6,
    "sens_level_features": (8, 12),
    "sens_prompt_features": (4, 4),
    "prompt_lengths": (3, 3),
    "prompt_sizes": (16, 8),
    "enc_cabs": (1, 1),
    "dec_cabs": (1, 1),
    "skip_cabs": (0, 0),
    "bottleneck_cabs": 1,
}
_SMALL_MODELS: dict[str, ModelConfig] = {
    "unet": UNetConfig(features=8, pools=3, crop=None),
    "varnet": VarNetConfig(n_steps=4, features=6, pools=3, sens_features=4, sens_pools=3),
    "modl": MoDLConfig(n_steps=4, features=24, layers=4),
    "modl-gleam": dataclasses.replace(MODL_2D_GLEAM, n_steps=4, features=24, layers=4),
    "pgd": PGDConfig(n_steps=4, features=24),
    "modl-cine": dataclasses.replace(MODL_3D_GLEAM, features=8, layers=4),
    "pgd-cine": dataclasses.replace(PGD_3D_CINE, features=8),
    "deep-jsense": DeepJSenseConfig(n_steps=3, kernel=(9, 7), features=16),
    "promptmr": PromptMRConfig(n_steps=4, **_SMALL_PROMPTS),
    "promptmr-plus": PromptMRPlusConfig(n_steps=4, n_history=3, **_SMALL_PROMPTS),
}


def small(experiment: Experiment, model: ModelConfig) -> Experiment:
    """An experiment with a smaller network on small simulated heads, for minutes on two cores."""
    return dataclasses.replace(
        experiment,
        model=model,
        optimizer="adam",
        learning_rate=1e-3,
        n_updates=300,
        batch_size=1,
        n_masks=8,
        evaluate_every=100,
        checkpoint_every=100,
        log_every=10,
        simulated=SimulatedHeads(heads=12, validation_heads=2, slices=2, frames=8, shape=(96, 80), coils=4),
    )


SMALL = {name: small(PRESETS[name], model) for name, model in _SMALL_MODELS.items()}
"""`--model NAME --small`."""
