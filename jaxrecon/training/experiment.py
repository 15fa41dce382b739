"""An experiment: all that a training run is made of, as one frozen dataclass, and what follows from it.

A configuration file is Python: a function `experiment(small=False)` that returns an `Experiment`. The command line makes
its options from the fields; a run folder keeps them as JSON, from which `jaxrecon recon --checkpoint` builds the network.
"""

import dataclasses
import functools
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import optax
from jax.sharding import Mesh

from ..models import ModelConfig, batched, build
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
from ..strategies.update import Update, from_grad_fn
from . import losses, optimizers

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
    "adam_cosine",
    "gleam",
    "modl",
    "fastmri_unet",
    "fastmri_varnet",
    "deep_jsense",
    "deep_jsense_by_norm",
    "promptmr",
    "promptmr_calgary",
    "promptmr_cmrxrecon",
    "benchmark",
    "ramzi",
    "recon_ode",
]
TargetName = Literal["auto", "file", "rss", "combined"]
DataRangeName = Literal["volume", "slice"]
ScaleName = Literal["none", "maximum", "kspace_maximum", "top_magnitude", "instance_std"]


@dataclasses.dataclass(frozen=True)
class SimulatedHeads:
    """Heads, or beating hearts, that are simulated in place of files (`--data simulated`).

    Attributes:
      heads: subjects for training.
      validation_heads: other subjects, for validation.
      slices: slices of each head; a heart has one, of which so many frames are reconstructed (by networks of frames: all).
      hearts: hearts in place of heads, windows of neighbouring frames in place of slices; networks of frames have hearts.
      frames: frames of a heart, over one beat.
      shape: matrix (y, x).
      coils: receive coils.
      snr: mean magnitude within the head over the standard deviation of the complex noise.
    """

    heads: int = 24
    validation_heads: int = 4
    slices: int = 2
    hearts: bool = False
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
      n_modules: number of modules for gleam, gleam_shared and p_gleam; None: one module per step, but as many as leave
        each two steps where the last step of a module does not learn as a whole (PromptMR+ with buffers: its latent).
      every: steps between checkpoints, for the strategy checkpointed.
      n_checkpoints: steps that keep their carry, for the strategy invertible; None: all but the last step.
      loss: a function of jaxrecon.losses.
      optimizer: adam, or a recipe of jaxrecon.training.optimizers (adam_cosine: falling to zero over n_updates).
      learning_rate: None: that of the recipe (adam: 0.001).
      ema_decay: decay of a moving average of the weights, to reconstruct with; None: no average.
      n_updates: training steps.
      batch_size: slices per step.
      mask: name of a mask, as in `jaxrecon masks`; time frames, for networks that see all or neighbouring ones, can also have
        the masks kt-...; None: the samples that the files have.
      acceleration: R of the mask.
      acs: width of its fully sampled center; None: by size and R, as `jaxrecon masks`.
      n_masks: how many different masks are drawn for training; validation has as many others. None: a new one whenever
        a slice is read, in the validation one for each file.
      slices: (start, stop) of each file's slices to train and validate on, negative counts from the end; None: all.
      target: file: the file's reference; rss, combined: from full k-space, the root of sum of squares or the
        combination with maps; auto: combined for networks with a complex image, else the file's, or rss.
      scale: what k-space is divided by: 1, the maximum of the zero-filled image, the maximum of k-space, the image's 95th
        percentile (GLEAM; where there are frames, that of their average), its standard deviation (fastMRI's U-Net).
      data_range: the range for SSIM: "volume": the volume's maximum where it is known, else the slice's; "slice": always the
        slice's.
      shape: (y, x) that all slices are cropped or padded to; None: as they are.
      n_coils: coils are filled up to this number with zeros; None: as they are.
      espirit_crop: maps that are estimated for the network are 0 where ESPIRiT's eigenvalue is not above this number;
        0: nowhere.
      variant: rule of the evaluation.
      evaluate_every: steps from one evaluation to the next.
      checkpoint_every: steps from one checkpoint to the next.
      log_every: steps from one record of the log to the next.
      seed: the seed of weights, order and masks.
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
    n_masks: int | None = 64
    slices: tuple[int, int] | None = None
    target: TargetName = "auto"
    scale: ScaleName = "maximum"
    data_range: DataRangeName = "volume"
    shape: tuple[int, int] | None = None
    n_coils: int | None = None
    espirit_crop: float = 0.95
    variant: str = "fastmri"
    evaluate_every: int = 1000
    checkpoint_every: int = 1000
    log_every: int = 50
    seed: int = 0
    simulated: SimulatedHeads = SimulatedHeads()


def load_experiment(path: str | Path, *, small: bool = False) -> Experiment:
    """Run a configuration file and return the experiment of its function `experiment`.

    Args:
      path: a Python file of your own: it is executed. Files beside it can be imported, as from any script.
      small: call the function with small=True.

    Raises:
      ValueError: the file does not run, or has no such function.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        found = runpy.run_path(str(path)).get("experiment")
        if callable(found):
            found = found(small=True) if small else found()
    except Exception as error:
        raise ValueError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, but it "
            f"stops with {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(beside)
    if not isinstance(found, Experiment):
        raise ValueError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, found "
            f"{found!r}"
        )
    return found


def make_strategy(experiment: Experiment) -> Strategy:
    """The strategy of an experiment; for p_gleam it is gleam, whose updates p_gleam makes.

    Raises:
      ValueError: gleam_shared, which has no gradient apart from its updates.
    """
    name, n_steps = experiment.strategy, build(experiment.model).n_steps
    match name:
        case "end_to_end":
            return end_to_end()
        case "checkpointed":
            return checkpointed(every=experiment.every)
        case "invertible":
            return invertible(experiment.n_checkpoints)
        case "gleam" | "p_gleam":
            return gleam(n_modules(experiment))
        case "deep_supervision":
            return deep_supervision([1 / n_steps] * n_steps)
    raise ValueError(f"strategy {name} is no function to a gradient: its optimizer runs between its modules")


def make_optimizer(experiment: Experiment, *, steps_per_epoch: int) -> optax.GradientTransformation:
    """The optimizer of an experiment; some recipes count epochs or the updates of the run."""
    prompts = functools.partial(_promptmr, steps_per_epoch, build(experiment.model).untrained)
    recipes: dict[str, Callable[..., optax.GradientTransformation]] = {
        "adam": lambda learning_rate=1e-3: optax.adam(learning_rate),
        "adam_cosine": functools.partial(optimizers.adam_cosine, experiment.n_updates),
        "gleam": optimizers.gleam,
        "modl": optimizers.modl,
        "fastmri_unet": functools.partial(optimizers.fastmri_unet, steps_per_epoch),
        "fastmri_varnet": functools.partial(optimizers.fastmri_varnet, steps_per_epoch),
        "deep_jsense": functools.partial(optimizers.deep_jsense, steps_per_epoch),
        "deep_jsense_by_norm": functools.partial(optimizers.deep_jsense, steps_per_epoch, clip="norm"),
        "promptmr": prompts,
        "promptmr_calgary": functools.partial(prompts, decay_epoch=19),
        "promptmr_cmrxrecon": functools.partial(prompts, learning_rate=2e-4, decay_epoch=11),
        "benchmark": optimizers.benchmark,
        "ramzi": optimizers.ramzi,
        "recon_ode": optimizers.recon_ode,
    }
    if experiment.learning_rate is None:
        return recipes[experiment.optimizer]()
    if not (math.isfinite(experiment.learning_rate) and experiment.learning_rate > 0):
        raise ValueError(f"the learning rate must be positive, but it is {experiment.learning_rate}")
    return recipes[experiment.optimizer](learning_rate=experiment.learning_rate)


def n_modules(experiment: Experiment) -> int:
    """How many modules gleam, gleam_shared and p_gleam make of the network of an experiment."""
    if experiment.n_modules is not None:
        return experiment.n_modules
    model = build(experiment.model)
    n_steps, least = model.n_steps, model.wants.steps_per_module
    return max((m for m in range(1, n_steps + 1) if n_steps % m == 0 and n_steps // m >= least), default=1)


def _promptmr(steps_per_epoch, untrained, **options):
    tx = optimizers.promptmr(steps_per_epoch, **options)
    return optimizers.freeze(tx, lambda name: name.endswith(untrained)) if untrained else tx


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
      steps_per_epoch: updates per epoch, for recipes that count epochs.
      mesh: devices, as `module_mesh` makes it; p_gleam spreads its modules over them, other strategies their batches.
        None: one device.
      schedule: how p_gleam divides its work, see there.
      n_batches: mini-batches that p_gleam takes in one call.

    Raises:
      ValueError: a strategy that cannot train the network.
    """
    model, loss = batched(build(experiment.model)), LOSSES[experiment.loss]
    tx, ema_decay = make_optimizer(experiment, steps_per_epoch=steps_per_epoch), experiment.ema_decay
    modules = n_modules(experiment)
    if experiment.strategy == "p_gleam":
        mesh = module_mesh(1) if mesh is None else mesh
        return p_gleam(modules, mesh, tx, schedule=schedule, n_batches=n_batches, ema_decay=ema_decay)(model, loss)
    if experiment.strategy == "gleam_shared":
        update = gleam_shared(modules, tx, ema_decay=ema_decay)(model, loss)
    else:
        grad_fn = make_strategy(experiment)(model, loss)
        if experiment.strategy == "gleam":
            tx = per_module(tx, modules)
        update = from_grad_fn(grad_fn, tx, ema_decay=ema_decay, absorb=model.absorb)
    return update if mesh is None else data_parallel(update, mesh)
