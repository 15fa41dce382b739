"""Published weights to a run folder, and a run folder to weights under their published names."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import UserError
from ..models import ModelConfig, abstract_params, build
from ..training import Checkpoints, TrainState, load_config, load_params
from ..training.checkpoints import FOLDER
from ..typing import Params
from ..weights import Published, from_published, read, read_comment, read_settings, to_published, write_npz
from .as_json import from_json, kind_of, to_json
from .catalog import CATALOG, Entry, entry_of
from .experiment import DataConfig, Experiment

_COMMENT = "jaxrecon experiment: "
"""What stands before the experiment, as JSON, in the comment of an .npz written here."""

WEIGHTS: dict[str, tuple[Entry, Published]] = {
    entry.published.option: (entry, entry.published) for entry in CATALOG.values() if entry.published is not None
}
"""What weights are called -> the network that they are of, and their names."""


class Converted(NamedTuple):
    """What was converted.

    Attributes:
      experiment: the network, and what is known of its training.
      params: its weights.
      published: the names that the weights are published under.
      state: the weights under these names.
      remark: what the user should know of it; "": nothing.
    """

    experiment: Experiment
    params: Params
    published: Published
    state: dict[str, np.ndarray]
    remark: str = ""

    @property
    def n_params(self) -> int:
        """How many parameters the network has."""
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(self.params))


def import_weights(
    source: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    part: str | None = None,
    mask: str | None = None,
    acs: int | None = None,
    untold: Mapping[str, Any] | None = None,
) -> Converted:
    """Make a run folder, for `jaxrecon.load_network`, of published weights; their files are not executed.

    Args:
      source: a file of PyTorch, a checkpoint of TensorFlow (by its prefix), or an .npz.
      out: the run folder to make.
      model: what the weights are, a name in WEIGHTS; None: what an .npz of `export_weights` says.
      part: which dict of tensors is wanted, where a PyTorch checkpoint holds several.
      mask: the mask of two phase encodes that the weights were trained with, where the network estimates maps from the
        center that it has.
      acs: width of that center; given together with mask.
      untold: fields of the configuration that such weights do not tell.

    Raises:
      DataError: no weights, or damaged ones.
      ValueError: weights of another network, or a configuration that they do not fit.
      FileExistsError: the folder holds a run.
      OSError: the folder cannot be made.
    """
    source, out = Path(source), Path(out)
    exported = exported_experiment(source)
    name = model or (_name(exported) if exported else None)
    if name is None:
        raise UserError(f"{source} is no run folder; weights need a model: one of {', '.join(WEIGHTS)}")
    if name not in WEIGHTS:
        raise UserError(f"there are no published weights '{name}'; there are {', '.join(WEIGHTS)}")
    if exported and name != _name(exported):
        raise UserError(f"{source} holds weights of {_name(exported)}, not of {name}: leave the model out")
    if (out / FOLDER).exists():
        raise FileExistsError(f"{out} holds a run already: choose another folder")
    if out.suffix == ".npz":
        raise UserError(f"cannot write {out}: {source} is no run folder; weights become a folder")
    if (mask is None) != (acs is None):
        raise UserError("mask and acs say together what the calibration region was: give both, or none of them")
    state, (_, published) = read(source, part=part), WEIGHTS[name]
    _, config = from_published(state, published, config=exported and exported.model)
    params, config = from_published(state, published, config=_with_untold(config, untold or {}, published))
    remark = "" if exported else check_version(source, published)
    build(config)  # refuses sizes that make no network
    experiment = dataclasses.replace(exported, model=config) if exported else experiment_of(published, config)
    if mask is not None:
        data = dataclasses.replace(experiment.data, mask=mask, acs=acs)
        experiment = dataclasses.replace(experiment, data=data)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {out}: {error.strerror}") from error
    # on the host: published doubles stay what they are
    converted = TrainState(jnp.zeros((), jnp.int32), params, (), jax.random.key(0))
    with Checkpoints(out) as checkpoints:
        checkpoints.save(converted, config=to_json(experiment))
    return Converted(experiment, params, published, state, remark)


def export_weights(run: str | Path, out: str | Path, *, model: str | None = None, overwrite: bool = False) -> Converted:
    """Write the weights of a run folder under their published names, with the whole configuration.

    Args:
      run: the run folder.
      out: the .npz to write; `import_weights` makes the same network of it.
      model: what the weights should be, to be sure; None: whatever they are.
      overwrite: replace an existing file.

    Raises:
      ValueError: no run folder, or a network whose published names are not known.
      FileExistsError: the file exists.
    """
    experiment = from_json(load_config(run), where=run)
    name = _name(experiment)
    if name is None:
        raise UserError(
            f"{run} holds a {kind_of(experiment.model)}: expected one of {', '.join(WEIGHTS)}, the "
            "networks whose published names are known"
        )
    if model not in (None, name):
        raise UserError(f"{run}: expected the network of {model}, found that of {name}")
    published = WEIGHTS[name][1]
    params = load_params(run, abstract_params(experiment.model))
    state = to_published(params, published, experiment.model)
    write_npz(out, state, overwrite=overwrite, comment=_COMMENT + json.dumps(to_json(experiment)))
    inferred = published.infer({key: array.shape for key, array in state.items()})
    remark = ""
    if unstated := differences(experiment.model, inferred):
        values = ", ".join(f"{field} {getattr(experiment.model, field)}" for field in unstated)
        remark = f"other programs do not see from the weights: {values}; jaxrecon keeps it in {out}"
    return Converted(experiment, params, published, state, remark)


def is_run(path: str | Path) -> bool:
    """Whether a path is a run folder."""
    return (Path(path) / FOLDER).is_dir()


def experiment_of(published: Published, config: ModelConfig) -> Experiment:
    """What is known of the training of published weights: their network, and the units that their data were in."""
    return Experiment(config, data=DataConfig(mask=None, scale=published.scale), n_updates=0)


def check_version(source: Path, published: Published) -> str:
    """Refuse weights that are stated to be of another arithmetic under the same names; say so where nothing is stated.

    Args:
      source: their file.
      published: what they are read as.

    Returns:
      What the user should know; "": nothing.

    Raises:
      ValueError: they are stated to be others.
    """
    if not published.versions:
        return ""
    model = published.option
    versions = {version: kind for _, kind in WEIGHTS.values() for version in kind.versions}
    stated = read_settings(source).get("model_version")
    if stated is None:
        like = " and ".join(kind.name for kind in versions.values())
        return (
            f"{source} states no model_version: read as {model}; weights of {like} may have the same names and shapes"
        )
    if stated not in published.versions:
        known = versions.get(str(stated))
        cure = f"they are those of model {known.option}" if known else f"known are {', '.join(versions)}"
        raise UserError(f"{source} states model_version {stated}, which is not the arithmetic of {model}: {cure}")
    return ""


def exported_experiment(source: Path) -> Experiment | None:
    """The experiment in an .npz of `export_weights`; None: the file is none.

    Args:
      source: the file.

    Raises:
      ValueError: what it says is damaged.
    """
    comment = read_comment(source)
    if not comment.startswith(_COMMENT):
        return None
    try:
        content = json.loads(comment.removeprefix(_COMMENT))
    except json.JSONDecodeError as error:
        raise UserError(f"{source}: the configuration in its comment is damaged: {error}") from error
    return from_json(content, where=source)


def _with_untold(config: ModelConfig, untold: Mapping[str, Any], published: Published) -> ModelConfig:
    """The configuration with what the user tells of it."""
    for name in untold:
        if name not in published.untold:
            raise UserError(f"{name}: the weights of {published.option} tell it themselves, or it has no such field")
    return dataclasses.replace(config, **untold)  # type: ignore[type-var]


def differences(config: Any, other: Any) -> list[str]:
    """The names of the fields in which a configuration differs from another of its kind.

    Args:
      config: the configuration.
      other: the other one.
    """
    names = [field.name for field in dataclasses.fields(config)]
    return [name for name in names if getattr(config, name) != getattr(other, name)]


def _name(experiment: Experiment) -> str | None:
    """What the weights of an experiment's network are called, where that is known."""
    entry = entry_of(experiment.model)
    return entry.published.option if entry is not None and entry.published is not None else None
