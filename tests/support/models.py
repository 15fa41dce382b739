"""Every network at the smallest size that has all its parts."""

import dataclasses

from jaxrecon import models

FRAMES = 3
"""Neighbouring frames of the networks that take some."""
JSENSE = models.DeepJSenseConfig(n_steps=2, map_iters=2, image_iters=2, kernel=(5, 3), features=2, blocks=2)
PROMPTS = dict(
    n_steps=2,
    n_adjacent=FRAMES,
    features=4,
    level_features=(4,),
    prompt_features=(4,),
    sens_features=4,
    sens_level_features=(4,),
    sens_prompt_features=(4,),
    prompt_lengths=(2,),
    prompt_sizes=(3,),
    enc_cabs=(1,),
    dec_cabs=(0,),
    skip_cabs=(0,),
    bottleneck_cabs=0,
)
MODELS = {
    "unet": lambda: models.unet(models.UNetConfig(features=2, pools=1, crop=None)),
    "varnet": lambda: models.varnet(models.VarNetConfig(n_steps=2, features=2, pools=1, sens_features=2, sens_pools=1)),
    "modl": lambda: models.modl(models.MoDLConfig(n_steps=2, features=3, layers=2, norm="frozen", cg_iters=4)),
    # GLEAM's MoDL at a large lam, where CG converges and the step can be inverted
    "modl, separate": lambda: models.modl(
        models.MoDLConfig(
            n_steps=2,
            features=3,
            layers=2,
            padding="reflect",
            norm="none",
            shared=False,
            lam=4.0,
            learn_lam=False,
            warm_start=True,
            cg_iters=15,
            inverse_iters=40,
        )
    ),
    "pgd": lambda: models.pgd(models.PGDConfig(n_steps=2, features=3, blocks=1)),
    "pgd, shared": lambda: models.pgd(models.PGDConfig(n_steps=2, features=3, blocks=1, shared=True)),
    "pgd 3D": lambda: models.pgd(models.PGDConfig(n_steps=2, features=2, blocks=1, ndim=3)),
    "deep jsense": lambda: models.deep_jsense(JSENSE),
    "promptmr": lambda: models.promptmr(models.PromptMRConfig(**PROMPTS)),
    "promptmr plus": lambda: models.promptmr_plus(models.PromptMRPlusConfig(n_history=1, **PROMPTS)),
    "deep jsense, separate": lambda: models.deep_jsense(dataclasses.replace(JSENSE, shared=False)),
}
