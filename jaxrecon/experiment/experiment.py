"""An experiment: all that a training run is made of, as one frozen dataclass, and what follows from it.

A configuration file is Python: a function `experiment(small=False)` that returns an `Experiment`. The command line makes
its options from the fields; a run folder keeps them as JSON, from which `jaxrecon recon --checkpoint` builds the network.
"""

import dataclasses
import re
import runpy
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from jax.sharding import Mesh

from ..checks import UserError
from ..coils.espirit import CROP
from ..data.recipes import SCALES, TARGETS
from ..losses import LOSSES
from ..models import ModelConfig, Unrolled, batched, build, with_untrained
from ..strategies.configs import EndToEnd, StrategyConfig
from ..strategies.update import Update
from ..training.fit import Every
from ..training.optimizers import Adam, Course, OptimizerConfig
from .old_forms import OldForm, old_form

if TYPE_CHECKING:
    LossName = ScaleName = TargetName = str
else:
    LossName, ScaleName, TargetName = (Literal[tuple(table)] for table in (LOSSES, SCALES, TARGETS))


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
class DataConfig:
    """What slices a network learns from, and how they become examples.

    Attributes:
      mask: name of a mask, as in `jaxrecon masks`, or a file of one (.npy, .npz, .mat, .h5, .cfl); time frames, for networks that see
        all or neighbouring ones, can also have the masks kt-...; None: the samples that the files have. Of several each
        example has one, drawn by its key.
      acceleration: R of the mask. Of several each example has one, drawn by its key; the validation scores every scan with each of
        them, in as many times the time, and says the scores of each and their mean.
      acs: width of its fully sampled center, or, below 1, its share of the columns; None: by size and R, as `jaxrecon masks`. Several
        are pairs with accelerations of the same number.
      n_masks: how many different masks are drawn for training, of each acceleration; validation has as many others. None: a
        new one whenever a slice is read, in the validation one for each file.
      slices: (start, stop) of each file's slices to train and validate on, negative counts from the end; None: all.
      target: file: the file's reference; rss, combined: from full k-space, the root of sum of squares or the
        combination with maps; auto: combined for networks with a complex image, else the file's, or rss.
      scale: what k-space is divided by: 1, the maximum of the zero-filled image, the maximum of k-space, the image's 95th
        percentile (GLEAM; where there are frames, that of their average), its standard deviation (fastMRI's U-Net), 1e-6 (Ramzi et
        al.: for fastMRI's units).
      data_range: the range for SSIM: "volume": the volume's maximum where it is known, else the slice's; "slice": always the
        slice's.
      shape: (y, x) that all slices are cropped or padded to; None: as they are.
      n_coils: coils are filled up to this number with zeros; None: as they are.
      espirit_crop: maps that are estimated for the network are 0 where ESPIRiT's eigenvalue is not above this number;
        0: nowhere.

    Raises:
      ValueError: no mask, acceleration or center in a list of them.
    """

    mask: str | tuple[str, ...] | None = "random"
    acceleration: float | tuple[float, ...] = 4.0
    acs: int | float | tuple[int | float, ...] | None = None
    n_masks: int | None = 64
    slices: tuple[int, int] | None = None
    target: TargetName = "auto"
    scale: ScaleName = "maximum"
    data_range: Literal["volume", "slice"] = "volume"
    shape: tuple[int, int] | None = None
    n_coils: int | None = None
    espirit_crop: float = CROP

    def __post_init__(self):
        for name in ("mask", "acceleration", "acs"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                if not value:
                    raise UserError(f"{name} has no value: give one or several")
                # one in a list is what it is alone
                object.__setattr__(self, name, tuple(value) if len(value) > 1 else value[0])


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a run is made of; numbers of a paper belong into its configuration file.

    Attributes:
      model: the network.
      strategy: how its gradient is obtained: a configuration of jaxrecon.strategies.
      optimizer: a configuration of jaxrecon.training.optimizers.
      loss: a function of jaxrecon.losses.
      data: the slices that it learns from, and how they become examples.
      n_updates: updates of the weights, the length of the training.
      batch_size: slices per update.
      ema_decay: decay of a moving average of the weights, to reconstruct with; None: no average.
      variant: rule of the evaluation.
      every: after how many updates evaluations, checkpoints and records of the log are due.
      seed: the seed of weights, order and masks.
      simulated: what `--data simulated` makes.
      freeze: patterns of the names of parameters that keep their values, as start or steps/net/*; a folder is all that is
        in it.

    Raises:
      ValueError: strategy or optimizer is a name, or intervals a number, as in earlier versions; the message has the new
        words. Or freeze is a text.
    """

    model: ModelConfig
    strategy: StrategyConfig = dataclasses.field(default=EndToEnd())
    optimizer: OptimizerConfig = dataclasses.field(default=Adam())
    loss: LossName = "complex_l1"
    # its options have no prefix
    data: Annotated[DataConfig, tyro.conf.arg(name="")] = DataConfig()
    n_updates: int = 50_000
    batch_size: int = 1
    ema_decay: float | None = None
    variant: str = "fastmri"
    every: Every = dataclasses.field(default=Every())
    seed: int = 0
    simulated: SimulatedHeads = SimulatedHeads()
    freeze: tuple[str, ...] = ()

    def __post_init__(self):
        for name, former in (("strategy", str), ("optimizer", str), ("every", int)):
            if isinstance(getattr(self, name), former):
                raise OldForm(f"{name}={getattr(self, name)!r}")
        if isinstance(self.freeze, str):
            raise UserError(f"freeze holds patterns, as in freeze=({self.freeze!r},), but it is {self.freeze!r}")


def load_experiment(path: str | Path, *, small: bool = False) -> Experiment:
    """Run a configuration file and return the experiment of its function `experiment`.

    Args:
      path: a Python file of your own: it is executed. Files beside it can be imported, as from any script. A network of your
        own in it is a frozen dataclass with a method build() -> Unrolled.
      small: call the function with small=True.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file does not run, has no such function, or is written for an earlier version: then the message has the
        new words.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    beside = str(path.resolve().parent)
    sys.path.insert(0, beside)
    try:
        found = _run(path).get("experiment")
        if callable(found):
            found = found(small=True) if small else found()
    except Exception as error:
        if (old := old_form(error)) is not None:
            raise UserError(f"configuration {path}: {old}") from error
        raise UserError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, but it "
            f"stops with {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(beside)
    if not isinstance(found, Experiment):
        raise UserError(
            f"configuration {path}: expected a function experiment(small=False) that returns an Experiment, found "
            f"{found!r}"
        )
    return found


def _run(path: Path) -> dict[str, Any]:
    """The names of a file that is run; it stays a module, where annotations of its dataclasses find the names they use."""
    module = types.ModuleType(re.sub(r"\W", "_", str(path.resolve().with_suffix(""))))
    vars(module).update(runpy.run_path(str(path), run_name=module.__name__))
    sys.modules[module.__name__] = module
    return vars(module)


def trained_network(experiment: Experiment) -> Unrolled:
    """The network of an experiment as it is trained: with the parameters that `freeze` names kept as they are.

    Args:
      experiment: the experiment.

    Raises:
      ValueError: a configuration that builds no network; (in init) a pattern that names no parameter, and the names that
        there are.
    """
    return with_untrained(build(experiment.model), experiment.freeze)


def make_update(experiment: Experiment, *, updates_per_epoch: int, mesh: Mesh | None = None) -> Update:
    """One training step of an experiment, for `fit`.

    Args:
      experiment: what is trained, and how.
      updates_per_epoch: for recipes that count epochs.
      mesh: devices, as `module_mesh` makes it; p_gleam spreads its modules over them, other strategies their batches.
        None: one device.

    Raises:
      ValueError: a strategy that cannot train the network, or numbers that make no optimizer.
    """
    model, loss = batched(trained_network(experiment)), LOSSES[experiment.loss].function
    tx = experiment.optimizer.build(Course(experiment.n_updates, updates_per_epoch))
    return experiment.strategy.build(model, loss, tx, ema_decay=experiment.ema_decay, mesh=mesh)
