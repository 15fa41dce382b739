"""The catalogue of built-in networks: an entry each, from which everything that goes by their names is made.

Those are the names on the command line, the kinds in the JSON of a run, the built-in experiments, what `jaxrecon convert`
knows, and the networks of the tests. To add a network: its file in jaxrecon.models, its published names in
jaxrecon.weights where there are such, and its entry here. A network of your own needs no entry: see `Experiment`.
"""

import dataclasses
from typing import Any

from ..checks import UserError
from ..models import (
    D5C5,
    MODL_2D_GLEAM,
    MODL_3D_GLEAM,
    PDNET_BENCHMARK,
    PGD_3D_CINE,
    UPDNET_KNEE,
    VARNET_DEMO,
    XPDNET_BRAIN_2020,
    CascadeConfig,
    DeepJSenseConfig,
    KIKIConfig,
    MagnitudeUNetConfig,
    ModelConfig,
    MoDLConfig,
    MoDLDeepJSenseConfig,
    PDNetConfig,
    PGDConfig,
    PromptMRConfig,
    PromptMRPlusConfig,
    PromptSizes,
    UNetConfig,
    UPDNetConfig,
    VarNetConfig,
    XPDNetConfig,
)
from ..nn import UNET_SMALL, MWCNNConfig
from ..strategies.configs import Checkpointed
from ..training.fit import Every
from ..training.optimizers import (
    Adam,
    BenchmarkAdam,
    DeepJSenseAdam,
    GleamAdam,
    MoDLAdam,
    PromptMRAdamW,
    RamziRAdam,
    UNetRMSprop,
    VarNetAdam,
)
from ..weights import D5C5 as PUBLISHED_D5C5
from ..weights import (
    DEEP_JSENSE,
    E2E_VARNET,
    FASTMRI_UNET,
    MODL,
    MODL_DEEP_JSENSE,
    PDNET,
    PROMPTMR,
    PROMPTMR_PLUS,
    XPDNET,
    Published,
)
from .experiment import DataConfig, Experiment, SimulatedHeads


@dataclasses.dataclass(frozen=True)
class Entry:
    """A built-in network.

    Attributes:
      name: `--model NAME`, and its kind in the JSON of a run; of several entries with one type of configuration the first
        names the kind.
      preset: the published network and its training; data, mask and length of training are to be chosen.
      small: a smaller network of the kind, for minutes on two cores: `--model NAME --small`.
      tiny: the smallest network that has all of its parts, for a look at them: of seconds.
      published: the names of its published weights, and what these do not tell; None: none are known.
    """

    name: str
    preset: Experiment
    small: ModelConfig
    tiny: ModelConfig
    published: Published | None = None

    @property
    def small_preset(self) -> Experiment:
        """The preset with the small network, on small simulated heads."""
        return small(self.preset, self.small)


def small(experiment: Experiment, model: ModelConfig) -> Experiment:
    """An experiment with a smaller network on small simulated heads, for minutes on two cores."""
    return dataclasses.replace(
        experiment,
        model=model,
        optimizer=Adam(1e-3),
        n_updates=300,
        batch_size=1,
        data=dataclasses.replace(experiment.data, n_masks=8),
        every=Every(evaluate=100, checkpoint=100, log=10),
        simulated=SimulatedHeads(
            heads=12, validation_heads=2, slices=2, frames=8, shape=(96, 80), coils=min(experiment.simulated.coils, 4)
        ),
    )


class Catalog(dict[str, Entry]):
    """Name -> entry; of a name that there is not, the error lists those that there are."""

    def __missing__(self, name: str) -> Entry:
        raise UserError(f"there is no network '{name}'; there are {', '.join(self)}")


def catalog(*entries: Entry) -> Catalog:
    """Entries by their names.

    Raises:
      ValueError: two of one name.
    """
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two entries of the catalogue are called {', '.join(twice)}: each network needs its own name")
    return Catalog(zip(names, entries, strict=True))


def _deep_jsense(model: ModelConfig) -> Experiment:
    data = DataConfig(scale="kspace_maximum")
    return Experiment(model, Checkpointed(), DeepJSenseAdam(), loss="ssim", data=data)


def _prompts(model: ModelConfig) -> Experiment:
    return Experiment(model, Checkpointed(), PromptMRAdamW(), loss="ssim", data=DataConfig(scale="none"))


def _benchmark(model: ModelConfig, **training: Any) -> Experiment:
    """The benchmark of Ramzi et al.: single-coil images."""
    recipe: dict[str, Any] = {"loss": "l1", "optimizer": BenchmarkAdam(), **training}
    return Experiment(model, simulated=SimulatedHeads(coils=1), **recipe)


def _challenge(model: ModelConfig, mask: str) -> Experiment:
    """The authors' entries in fastMRI's challenge and leaderboard, multi-coil, trained step by step in memory."""
    return Experiment(model, Checkpointed(), RamziRAdam(), loss="l1_ms_ssim", data=DataConfig(mask=mask))


_CINE = DataConfig(mask="kt-variable-density", acceleration=10.0, scale="top_magnitude")
_GLEAM = DataConfig(mask="poisson", scale="top_magnitude")
_SMALL_PROMPTS = PromptSizes(
    features=8,
    level_features=(12, 16),
    prompt_features=(4, 8),
    sens_features=6,
    sens_level_features=(8, 12),
    sens_prompt_features=(4, 4),
    prompt_lengths=(3, 3),
    prompt_sizes=(16, 8),
    enc_cabs=(1, 1),
    dec_cabs=(1, 1),
    skip_cabs=(0, 0),
    bottleneck_cabs=1,
)
_TINY_PROMPTS = PromptSizes(
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
# at this lam CG converges, so that the step can be inverted
_TINY_GLEAM: dict[str, Any] = {
    "n_steps": 2,
    "features": 3,
    "layers": 2,
    "lam": 4.0,
    "cg_iters": 15,
    "inverse_iters": 40,
}

CATALOG = catalog(
    Entry(
        "unet",
        Experiment(UNetConfig(), loss="l1", optimizer=UNetRMSprop(), data=DataConfig(scale="instance_std")),
        small=UNetConfig(features=8, pools=3, crop=None),
        tiny=UNetConfig(features=2, pools=1, crop=None),
        published=FASTMRI_UNET,
    ),
    Entry(
        "varnet",
        Experiment(VARNET_DEMO, loss="ssim", optimizer=VarNetAdam()),
        small=VarNetConfig(n_steps=4, features=6, pools=3, sens_features=4, sens_pools=3),
        tiny=VarNetConfig(n_steps=2, features=2, pools=1, sens_features=2, sens_pools=1),
        published=E2E_VARNET,
    ),
    Entry(
        "modl",
        Experiment(MoDLConfig(), loss="mse", optimizer=MoDLAdam(), data=DataConfig(mask="poisson", acceleration=6.0)),
        small=MoDLConfig(n_steps=4, features=24, layers=4),
        tiny=MoDLConfig(n_steps=2, features=3, layers=2, cg_iters=4),
        published=MODL,
    ),
    Entry(
        "modl-gleam",
        Experiment(MODL_2D_GLEAM, optimizer=GleamAdam(), data=_GLEAM),
        small=dataclasses.replace(MODL_2D_GLEAM, n_steps=4, features=24, layers=4),
        tiny=dataclasses.replace(MODL_2D_GLEAM, **_TINY_GLEAM),
    ),
    Entry(
        "modl-cine",
        Experiment(MODL_3D_GLEAM, optimizer=GleamAdam(), data=_CINE),
        small=dataclasses.replace(MODL_3D_GLEAM, features=8, layers=4),
        tiny=dataclasses.replace(MODL_3D_GLEAM, **_TINY_GLEAM),
    ),
    Entry(
        "pgd",
        Experiment(PGDConfig(), optimizer=GleamAdam(), data=_GLEAM),
        small=PGDConfig(n_steps=4, features=24),
        tiny=PGDConfig(n_steps=2, features=3, blocks=1),
    ),
    Entry(
        "pgd-cine",
        Experiment(PGD_3D_CINE, optimizer=GleamAdam(), data=_CINE),
        small=dataclasses.replace(PGD_3D_CINE, features=8),
        tiny=PGDConfig(n_steps=2, features=2, blocks=1, ndim=3),
    ),
    Entry(
        "deep-jsense",
        _deep_jsense(DeepJSenseConfig()),
        small=DeepJSenseConfig(n_steps=3, kernel=(9, 7), features=16),
        tiny=DeepJSenseConfig(n_steps=2, map_iters=2, image_iters=2, kernel=(5, 3), features=2, blocks=2),
        published=DEEP_JSENSE,
    ),
    Entry(
        "modl-deep-jsense",
        _deep_jsense(MoDLDeepJSenseConfig()),
        small=MoDLDeepJSenseConfig(n_steps=3, features=16),
        tiny=MoDLDeepJSenseConfig(n_steps=2, image_iters=2, features=2, blocks=2),
        published=MODL_DEEP_JSENSE,
    ),
    Entry(
        "promptmr",
        _prompts(PromptMRConfig()),
        small=PromptMRConfig(n_steps=4, n_adjacent=3, sizes=_SMALL_PROMPTS),
        tiny=PromptMRConfig(n_steps=2, n_adjacent=3, sizes=_TINY_PROMPTS),
        published=PROMPTMR,
    ),
    # with gleam or p_gleam: modules of two cascades, else its latent never learns
    Entry(
        "promptmr-plus",
        _prompts(PromptMRPlusConfig()),
        small=PromptMRPlusConfig(n_steps=4, n_adjacent=3, n_history=3, sizes=_SMALL_PROMPTS),
        tiny=PromptMRPlusConfig(n_steps=2, n_adjacent=3, n_history=1, sizes=_TINY_PROMPTS),
        published=PROMPTMR_PLUS,
    ),
    Entry(
        "cascade",
        _benchmark(CascadeConfig()),
        small=CascadeConfig(n_steps=3, features=16, layers=4),
        tiny=CascadeConfig(n_steps=2, features=2, layers=2, learn_consistency=True),
        published=PUBLISHED_D5C5,
    ),
    Entry(
        "d5c5",
        _benchmark(D5C5, loss="mse", optimizer=Adam(1e-3)),
        small=dataclasses.replace(D5C5, n_steps=3, features=16, layers=4),
        tiny=dataclasses.replace(D5C5, n_steps=2, features=2, layers=2),
    ),
    Entry(
        "kiki",
        _benchmark(KIKIConfig(), optimizer=BenchmarkAdam(in_thirds=True)),
        small=KIKIConfig(features=12, layers=5),
        tiny=KIKIConfig(features=2, layers=2),
    ),
    # with gleam or p_gleam: modules of two iterations, else all channels but the first never learn
    Entry(
        "pdnet",
        _benchmark(PDNET_BENCHMARK),
        small=PDNetConfig(n_steps=4, n_primal=3, n_dual=3, features=12),
        tiny=PDNetConfig(n_steps=2, n_primal=2, n_dual=2, features=2, layers=2),
        published=PDNET,
    ),
    Entry(
        "magnitude-unet",
        _benchmark(MagnitudeUNetConfig(), data=DataConfig(scale="instance_std")),
        small=MagnitudeUNetConfig(features=(8, 16, 32), crop=None),
        tiny=MagnitudeUNetConfig(features=(2, 3), convs=1, crop=None),
    ),
    Entry(
        "updnet",
        _challenge(UPDNET_KNEE, mask="random"),
        small=UPDNetConfig(n_steps=4, n_primal=3, n_dual=3, features=(6, 12), refiner="small", center=0.1),
        tiny=UPDNetConfig(
            n_steps=2, n_primal=2, features=(2, 3), convs=1, activation="prelu", primal_only=True, center=0.5
        ),
    ),
    Entry(
        "xpdnet",
        _challenge(XPDNET_BRAIN_2020, mask="equispaced-fraction"),
        small=XPDNetConfig(n_steps=3, n_primal=3, denoiser=UNET_SMALL, refiner="small", center=0.1),
        tiny=XPDNetConfig(
            n_steps=2,
            n_primal=2,
            denoiser=MWCNNConfig((3, 4), (1, 1), 4, 1),
            refiner="small",
            center=0.5,
            normalize=True,
        ),
        published=XPDNET,
    ),
)
"""Name -> entry."""


def entry_of(config: ModelConfig) -> Entry | None:
    """The first entry whose network has this type of configuration; None: it is a network of a user's own."""
    return next((entry for entry in CATALOG.values() if type(entry.preset.model) is type(config)), None)
