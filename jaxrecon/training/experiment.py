"""An experiment: all that a training run is made of, as one frozen dataclass, and what follows from it.

A configuration file is Python: a function `experiment(small=False)` that returns an `Experiment`. The command line makes
its options from the fields; a run folder keeps them as JSON, from which `jaxrecon recon --checkpoint` builds the network.
"""

import dataclasses
import functools
import math
import runpy
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from ..models import (
    MODL_2D_GLEAM,
    PGD_3D_CINE,
    VARNET_DEMO,
    DeepJSenseConfig,
    MoDLConfig,
    PGDConfig,
    PromptMRConfig,
    PromptMRPlusConfig,
    UNetConfig,
    Unrolled,
    VarNetConfig,
    batched,
    deep_jsense,
    keep_moving_averages,
    modl,
    pgd,
    promptmr,
    promptmr_plus,
    unet,
    varnet,
)
from ..operators import CartesianSense
from ..problem import Problem
from ..strategies import (
    Schedule,
    Strategy,
    checkpointed,
    data_parallel,
    deep_supervision,
    end_to_end,
    gleam,
    gleam_shared,
    invertible,
    module_mesh,
    p_gleam,
    per_module,
)
from ..strategies.update import Metrics, Update, from_grad_fn
from ..typing import Params
from . import losses, optimizers
from .checkpoints import as_json

ModelConfig = (
    UNetConfig | VarNetConfig | MoDLConfig | PGDConfig | DeepJSenseConfig | PromptMRPlusConfig | PromptMRConfig
)
MODELS: dict[str, tuple[type, Callable[[Any], Unrolled]]] = {
    "unet": (UNetConfig, unet),
    "varnet": (VarNetConfig, varnet),
    "modl": (MoDLConfig, modl),
    "pgd": (PGDConfig, pgd),
    "deep-jsense": (DeepJSenseConfig, deep_jsense),
    "promptmr": (PromptMRConfig, promptmr),
    "promptmr-plus": (PromptMRPlusConfig, promptmr_plus),
}
"""Name in files and on the command line -> configuration and builder."""
LOSSES = {
    "complex_l1": losses.complex_l1,
    "l1": losses.l1,
    "mse": losses.mse,
    "nmse": losses.nmse,
    "ssim": losses.ssim,
    "l1_ssim": losses.l1_ssim,
}
StrategyName = Literal[
    "end_to_end", "checkpointed", "invertible", "gleam", "gleam_shared", "p_gleam", "deep_supervision"
]
LossName = Literal["complex_l1", "l1", "mse", "nmse", "ssim", "l1_ssim"]
OptimizerName = Literal[
    "adam",
    "gleam",
    "modl",
    "fastmri_unet",
    "fastmri_varnet",
    "deep_jsense",
    "promptmr",
    "benchmark",
    "ramzi",
    "recon_ode",
]
TargetName = Literal["auto", "file", "rss", "combined"]
ScaleName = Literal["none", "maximum", "kspace_maximum", "top_magnitude", "instance_std"]


@dataclasses.dataclass(frozen=True)
class SimulatedHeads:
    """Heads, for networks of frames beating hearts, that are simulated in place of files (`--data simulated`).

    Attributes:
      heads: subjects for training.
      validation_heads: others, for validation.
      slices: slices of each head; of a heart there is one.
      frames: of a heart, over one beat.
      shape: matrix (y, x).
      coils: receive coils.
      snr: mean magnitude within the head over the standard deviation of the complex noise.
    """

    heads: int = 24
    validation_heads: int = 4
    slices: int = 2
    frames: int = 16
    shape: tuple[int, int] = (192, 160)
    coils: int = 8
    snr: float = 30.0


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a run is made of; numbers of a paper belong into its configuration file.

    Attributes:
      model: the network.
      strategy: how its gradient is obtained.
      n_modules: of gleam, gleam_shared and p_gleam; None: one module per step.
      every: of checkpointed: steps between checkpoints.
      n_checkpoints: of invertible; None: all but the last step.
      loss: a function of jaxrecon.losses.
      optimizer: adam, or a recipe of jaxrecon.training.optimizers.
      learning_rate: None: that of the recipe (adam: 0.001).
      ema_decay: of a moving average of the weights, to reconstruct with; None: no average.
      n_updates: training steps.
      batch_size: slices per step.
      mask: name as in `jaxrecon masks`, for networks of frames the kt- masks too; None: the samples that the files have.
      acceleration: R of the mask.
      acs: width of its fully sampled center; None: by size and R, as `jaxrecon masks`.
      n_masks: how many different masks are drawn for training; validation has as many others.
      target: file: the file's reference; rss, combined: from full k-space, the root of sum of squares or the
        combination with maps; auto: combined for networks with a complex image, else the file's, or rss.
      scale: what k-space is divided by: 1, the maximum of the zero-filled image, that of k-space, the image's 95th
        percentile (GLEAM; of frames that of the image averaged over time), its standard deviation (fastMRI's U-Net).
      shape: (y, x) that all slices are cropped or padded to; None: as they are.
      n_coils: coils are filled up to this number with zeros; None: as they are.
      variant: rule of the evaluation.
      evaluate_every: steps.
      checkpoint_every: steps.
      log_every: steps.
      seed: of weights, order and masks.
      simulated: what `--data simulated` makes.
    """

    model: ModelConfig
    strategy: StrategyName = "end_to_end"
    n_modules: int | None = None
    every: int = 1
    n_checkpoints: int | None = None
    loss: LossName = "complex_l1"
    optimizer: OptimizerName = "adam"
    learning_rate: float | None = None
    ema_decay: float | None = None
    n_updates: int = 50_000
    batch_size: int = 1
    mask: str | None = "random"
    acceleration: float = 4.0
    acs: int | None = None
    n_masks: int = 64
    target: TargetName = "auto"
    scale: ScaleName = "maximum"
    shape: tuple[int, int] | None = None
    n_coils: int | None = None
    variant: str = "fastmri"
    evaluate_every: int = 1000
    checkpoint_every: int = 1000
    log_every: int = 50
    seed: int = 0
    simulated: SimulatedHeads = SimulatedHeads()


PRESETS = {
    "unet": Experiment(UNetConfig(), loss="l1", optimizer="fastmri_unet", scale="instance_std"),
    "varnet": Experiment(VARNET_DEMO, loss="ssim", optimizer="fastmri_varnet"),
    "modl": Experiment(MoDLConfig(), loss="mse", optimizer="modl", mask="poisson", acceleration=6.0),
    "modl-gleam": Experiment(MODL_2D_GLEAM, optimizer="gleam", mask="poisson", scale="top_magnitude"),
    "pgd": Experiment(PGDConfig(), optimizer="gleam", mask="poisson", scale="top_magnitude"),
    "pgd-cine": Experiment(
        PGD_3D_CINE, optimizer="gleam", mask="kt-variable-density", acceleration=10.0, scale="top_magnitude"
    ),
    "deep-jsense": Experiment(
        DeepJSenseConfig(), strategy="checkpointed", loss="ssim", optimizer="deep_jsense", scale="kspace_maximum"
    ),
    "promptmr": Experiment(PromptMRConfig(), strategy="checkpointed", loss="ssim", optimizer="promptmr", scale="none"),
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


def load_experiment(path: str | Path, *, small: bool = False) -> Experiment:
    """Run a configuration file and return the experiment of its function `experiment`.

    Args:
      path: a Python file of your own: it is executed.
      small: call the function with small=True.

    Raises:
      ValueError: the file does not run, or has no such function.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    try:
        found = runpy.run_path(str(path)).get("experiment")
        if callable(found):
            found = found(small=True) if small else found()
    except Exception as error:
        raise ValueError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, but it "
            f"stops with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Experiment):
        raise ValueError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, found "
            f"{found!r}"
        )
    return found


def model_name(config: ModelConfig) -> str:
    """The name of a network's configuration in MODELS."""
    for name, (kind, _) in MODELS.items():
        if type(config) is kind:
            return name
    raise ValueError(f"{type(config).__name__} is no configuration of {', '.join(MODELS)}")


def build(config: ModelConfig, *, training: bool = False) -> Unrolled:
    """The network of a configuration; MoDL reconstructs with its moving averages and trains with the batch's statistics."""
    if isinstance(config, MoDLConfig) and config.norm == "batch" and not training:
        config = dataclasses.replace(config, norm="frozen")
    return MODELS[model_name(config)][1](config)


def needs_maps(config: ModelConfig) -> bool:
    """Whether the network is given maps; the others estimate them or combine coils by the root of sum of squares."""
    return has_complex_image(config) or getattr(config, "given_maps", False)


def has_complex_image(config: ModelConfig) -> bool:
    """Whether the network's image has a phase; the others' is a magnitude."""
    return isinstance(config, MoDLConfig | PGDConfig)


def in_time(config: ModelConfig) -> bool:
    """Whether the network is one of frames: k-space (frame, coil, y, x), all of a time series, to images (frame, y, x)."""
    return getattr(config, "ndim", 2) == 3


def window(config: ModelConfig) -> int | None:
    """How many neighbouring slices the network reconstructs at once, of which the middle one is the result; None: one slice.

    K-space (adjacent, coil, y, x), images (y, x).
    """
    return getattr(config, "n_adjacent", None)


def after_update(config: ModelConfig) -> Callable[[Params, Metrics], tuple[Params, Metrics]] | None:
    """What `from_grad_fn` does after an update: batch norm keeps the moving averages that ride in the last carry.

    None: nothing. Otherwise the strategy must hand the carry on.
    """
    if isinstance(config, MoDLConfig) and config.norm == "batch":
        return lambda params, aux: (keep_moving_averages(params, aux["carry"]), {})
    return None


def abstract_params(config: ModelConfig) -> Params:
    """Shapes and types of the network's parameters, which no size of images changes; nothing is computed."""
    size = max(64, 2 ** (getattr(config, "pools", 0) + 2))
    frames = (window(config) or 2,) if in_time(config) or window(config) else ()

    def init():
        kspace = jnp.zeros((*frames, 2, size, size), jnp.complex64)
        maps = jnp.zeros((2, size, size), jnp.complex64) if needs_maps(config) else None
        problem = Problem(kspace, CartesianSense(maps, jnp.ones((1, size))))
        return build(config).init(jax.random.key(0), problem)

    return jax.eval_shape(init)


def make_strategy(experiment: Experiment) -> Strategy:
    """The strategy of an experiment; p_gleam's is gleam, whose updates it makes.

    Raises:
      ValueError: gleam_shared, which has no gradient apart from its updates.
      ValueError: a strategy that cannot hand on batch norm's moving averages, where the network has them.
    """
    name, n_steps = experiment.strategy, _n_steps(experiment)
    keep_carry = after_update(experiment.model) is not None
    if keep_carry and name not in ("end_to_end", "checkpointed"):
        raise ValueError(
            f"strategy {name} cannot train batch norm: use end_to_end or checkpointed, or a network with norm 'none'"
        )
    match name:
        case "end_to_end":
            return end_to_end(keep_carry=keep_carry)
        case "checkpointed":
            return checkpointed(every=experiment.every, keep_carry=keep_carry)
        case "invertible":
            return invertible(experiment.n_checkpoints)
        case "gleam" | "p_gleam":
            return gleam(_n_modules(experiment))
        case "deep_supervision":
            return deep_supervision([1 / n_steps] * n_steps)
    raise ValueError(f"strategy {name} is no function to a gradient: its optimizer runs between its modules")


def make_optimizer(experiment: Experiment, *, steps_per_epoch: int) -> optax.GradientTransformation:
    """The optimizer of an experiment; fastMRI's recipes count epochs."""
    recipes: dict[str, Callable[..., optax.GradientTransformation]] = {
        "adam": lambda learning_rate=1e-3: optax.adam(learning_rate),
        "gleam": optimizers.gleam,
        "modl": optimizers.modl,
        "fastmri_unet": functools.partial(optimizers.fastmri_unet, steps_per_epoch),
        "fastmri_varnet": functools.partial(optimizers.fastmri_varnet, steps_per_epoch),
        "deep_jsense": functools.partial(optimizers.deep_jsense, steps_per_epoch),
        "promptmr": functools.partial(_promptmr, steps_per_epoch, getattr(experiment.model, "learn_prompts", False)),
        "benchmark": optimizers.benchmark,
        "ramzi": optimizers.ramzi,
        "recon_ode": optimizers.recon_ode,
    }
    if experiment.learning_rate is None:
        return recipes[experiment.optimizer]()
    if not (math.isfinite(experiment.learning_rate) and experiment.learning_rate > 0):
        raise ValueError(f"the learning rate must be positive, but it is {experiment.learning_rate}")
    return recipes[experiment.optimizer](learning_rate=experiment.learning_rate)


def _promptmr(steps_per_epoch, learn_prompts, **options):
    tx = optimizers.promptmr(steps_per_epoch, **options)
    return tx if learn_prompts else optimizers.freeze(tx, lambda name: name.endswith("/prompt"))


def make_update(
    experiment: Experiment,
    *,
    steps_per_epoch: int,
    mesh: Mesh | None = None,
    schedule: Schedule = "pipeline",
    n_batches: int = 1,
) -> Update:
    """One training step of an experiment, for `fit`.

    Args:
      experiment: what is trained, and how.
      steps_per_epoch: for recipes that count epochs.
      mesh: devices, as `module_mesh` makes it; p_gleam spreads its modules over them, other strategies their batches.
        None: one device.
      schedule: of p_gleam.
      n_batches: of p_gleam, mini-batches in one call.
    """
    model, loss = batched(build(experiment.model, training=True)), LOSSES[experiment.loss]
    tx, ema_decay = make_optimizer(experiment, steps_per_epoch=steps_per_epoch), experiment.ema_decay
    n_modules, after = _n_modules(experiment), after_update(experiment.model)
    if after is not None and experiment.strategy in ("p_gleam", "gleam_shared"):
        raise ValueError(f"strategy {experiment.strategy} cannot train batch norm: choose a network with norm 'none'")
    if experiment.strategy == "p_gleam":
        mesh = module_mesh(1) if mesh is None else mesh
        return p_gleam(n_modules, mesh, tx, schedule=schedule, n_batches=n_batches, ema_decay=ema_decay)(model, loss)
    if experiment.strategy == "gleam_shared":
        update = gleam_shared(n_modules, tx, ema_decay=ema_decay)(model, loss)
    else:
        grad_fn = make_strategy(experiment)(model, loss)
        if experiment.strategy == "gleam":
            tx = per_module(tx, n_modules)
        update = from_grad_fn(grad_fn, tx, ema_decay=ema_decay, after=after)
    return update if mesh is None else data_parallel(update, mesh)


def _n_steps(experiment: Experiment) -> int:
    return getattr(experiment.model, "n_steps", 1)


def _n_modules(experiment: Experiment) -> int:
    return _n_steps(experiment) if experiment.n_modules is None else experiment.n_modules


def to_json(experiment: Experiment, *, data: Mapping[str, str] | None = None) -> dict[str, Any]:
    """An experiment as JSON holds it; the network's dict gets its name as `kind`.

    Args:
      experiment: the experiment.
      data: what the run learned from, for the record, under the key `data`; `from_json` passes over it.
    """
    content = as_json(experiment) | ({} if data is None else {"data": dict(data)})
    return content | {"model": {"kind": model_name(experiment.model), **content["model"]}}


def from_json(content: Any, *, where: str | Path) -> Experiment:
    """The inverse of `to_json`; fields that are absent have their defaults.

    Args:
      content: what `load_config` returns.
      where: the run, for messages.

    Raises:
      ValueError: no experiment, an unknown network, unknown fields, or values of a wrong type: all are listed.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise ValueError(f"{where}: expected a run of jaxrecon train or convert, found a configuration {content!r}")
    kind = content["model"].get("kind")
    if kind not in MODELS:
        raise ValueError(f"{where}: there is no network '{kind}'; there are {', '.join(MODELS)}")
    wrong: list[str] = []
    model = _fill(MODELS[kind][0], {k: v for k, v in content["model"].items() if k != "kind"}, "model.", wrong)
    simulated = _fill(SimulatedHeads, content.get("simulated", {}), "simulated.", wrong)
    rest = {k: v for k, v in content.items() if k not in ("model", "simulated", "data")}
    experiment = _fill(Experiment, rest, "", wrong, model=model, simulated=simulated)
    if wrong:
        raise ValueError(
            f"{where}: its configuration does not fit this version of jaxrecon: {'; '.join(wrong)}. Use the version "
            "that it was made with"
        )
    return experiment


def _fill(kind, values, prefix, wrong, **given):
    """A dataclass from a dict; what does not fit is added to `wrong` and left out."""
    hints, kept = typing.get_type_hints(kind), {}
    for name, value in values.items() if isinstance(values, Mapping) else ():
        value = tuple(value) if isinstance(value, list) else value
        if name not in hints or name in given:
            wrong.append(f"unknown field {prefix}{name}")
        elif not _fits(value, hints[name]):
            wrong.append(f"{prefix}{name} is {value!r}, wanted {hints[name]}")
        else:
            kept[name] = value
    return kind(**kept, **given)


def _fits(value, hint) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        inner = (inner[0],) * len(value) if inner[1:] == (...,) and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
