"""`jaxrecon convert`: published weights to a run folder that `jaxrecon recon` reads, and back."""

import dataclasses
import json
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from ..experiment.as_json import from_json, kind_of, to_json
from ..experiment.catalog import CATALOG, Entry, entry_of
from ..experiment.experiment import DataConfig, Experiment
from ..sampling.named import names
from ..weights import Published
from .common import check_output, choices, literal, say

_COMMENT = "jaxrecon experiment: "
"""What stands before the experiment, as JSON, in the comment of an .npz written here."""

ENTRIES: dict[str, tuple[Entry, Published]] = {
    entry.published.option: (entry, entry.published) for entry in CATALOG.values() if entry.published is not None
}
"""What weights are called -> the network that they are of, and their names."""
if TYPE_CHECKING:
    WeightsName = str
else:
    WeightsName = Literal[tuple(ENTRIES)]


def _untold() -> type:
    """A dataclass of all fields that some weights do not tell, None where nothing is said: an option for each."""
    told: dict[str, list[str]] = {}
    hints: dict[str, Any] = {}
    for option, (entry, published) in ENTRIES.items():
        for name, text in published.untold.items():
            told.setdefault(name, []).append(f"{option}: {text}.")
            hints[name] = typing.get_type_hints(type(entry.preset.model))[name]
    return dataclasses.make_dataclass(
        "Untold",
        [
            (name, Annotated[hints[name] | None, tyro.conf.arg(help=" ".join(texts))], dataclasses.field(default=None))
            for name, texts in told.items()
        ],
        frozen=True,
    )


Untold: Any = _untold()


@dataclasses.dataclass(frozen=True)
class Options:
    """Convert published weights to a run folder, or a run folder to weights under their published names.

    Reads files of PyTorch (.pt, .pth, .ckpt), checkpoints of TensorFlow (by their prefix) and .npz; none of them is
    executed, and neither PyTorch nor TensorFlow is needed. The sizes of the network are seen from the weights. PromptMR and
    the baseline of PromptMR+ have the same: a checkpoint that states its model_version is held to it. An .npz written here
    keeps the whole configuration too, and comes back as the network that it was.

    Examples:
      jaxrecon convert knee_leaderboard_state_dict.pt --model e2e-varnet --out runs/varnet
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5
      jaxrecon convert calgary.ckpt --model promptmr-plus --mask calgary-poisson --acs 18 --out runs/calgary
      jaxrecon convert runs/varnet --out weights.npz
    """

    source: tyro.conf.Positional[Path]
    """A file of weights, or a run folder."""
    out: Path
    """The run folder to make, or the .npz to write."""
    model: WeightsName | None = None
    """What the weights are; it is known for a run folder, and for an .npz written here."""
    part: str | None = None
    """Which dict of tensors is wanted, where a PyTorch checkpoint holds several."""
    mask: literal(names("plane")) | None = None
    """Masks of two phase encodes that the weights were trained with: networks that estimate maps do so from the center
    that these have (that of columns is found in the mask of the scan)."""
    acs: int | None = None
    """Width of that center; radius for calgary-poisson: 18 for the published PromptMR+ of Calgary-Campinas."""
    overwrite: bool = False
    """Replace an existing .npz."""
    untold: Annotated[Untold, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Untold)


def run(options: Options) -> None:
    """In the direction that the source has."""
    from ..training.checkpoints import FOLDER

    if (options.source / FOLDER).is_dir():
        _to_weights(options)
    else:
        _to_run(options)


def _to_run(options: Options) -> None:
    from ..models import build
    from ..training import Checkpoints, TrainState
    from ..training.checkpoints import FOLDER
    from ..weights import from_published, read

    exported = _exported(options.source)
    model = options.model or (_name(exported) if exported else None)
    if model is None:
        raise ValueError(f"{options.source} is no run folder; weights need --model: one of {', '.join(ENTRIES)}")
    if exported and model != _name(exported):
        raise ValueError(f"{options.source} holds weights of {_name(exported)}, not of {model}: leave --model out")
    if (options.out / FOLDER).exists():
        raise FileExistsError(f"{options.out} holds a run already: choose another folder")
    if options.out.suffix == ".npz":
        raise ValueError(f"cannot write {options.out}: {options.source} is no run folder; weights become a folder")
    if (options.mask is None) != (options.acs is None):
        raise ValueError("--mask and --acs say together what the calibration region was: give both, or none of them")
    import jax
    import jax.numpy as jnp

    state, (_, published) = read(options.source, part=options.part), ENTRIES[model]
    _, config = from_published(state, published, config=exported and exported.model)
    params, config = from_published(state, published, config=_with_untold(config, options.untold, published))
    if not exported:
        _check_version(options.source, published)
    build(config)  # refuses sizes that make no network
    experiment = dataclasses.replace(exported, model=config) if exported else experiment_of(published, config)
    if options.mask is not None:
        data = dataclasses.replace(experiment.data, mask=options.mask, acs=options.acs)
        experiment = dataclasses.replace(experiment, data=data)
    # on the host: published doubles stay what they are
    converted = TrainState(jnp.zeros((), jnp.int32), params, (), jax.random.key(0))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {options.out}: {error.strerror}") from error
    with Checkpoints(options.out) as checkpoints:
        checkpoints.save(converted, config=to_json(experiment))
    _print(options, experiment, params)
    say(f"wrote {options.out}; to use it: jaxrecon recon SCAN --checkpoint {options.out} --out recon.h5")


def _check_version(source: Path, published: Published) -> None:
    """Refuse weights that are stated to be of another arithmetic under the same names; say so where nothing is stated."""
    from ..weights import read_settings

    if not published.versions:
        return
    model = published.option
    versions = {version: kind for _, kind in ENTRIES.values() for version in kind.versions}
    stated = read_settings(source).get("model_version")
    if stated is None:
        like = " and ".join(kind.name for kind in versions.values())
        say(f"{source} states no model_version: read as {model}; weights of {like} may have the same names and shapes")
    elif stated not in published.versions:
        known = versions.get(str(stated))
        cure = f"give --model {known.option}" if known else f"known are {', '.join(versions)}"
        raise ValueError(
            f"{source} states model_version {stated}, which is not the arithmetic of --model {model}: {cure}"
        )


def _to_weights(options: Options) -> None:
    check_output(options.out, suffixes=(".npz",), overwrite=options.overwrite)
    from ..models import abstract_params
    from ..training import load_config, load_params
    from ..weights import to_published, write_npz

    experiment = from_json(load_config(options.source), where=options.source)
    name = _name(experiment)
    if name is None:
        raise ValueError(
            f"{options.source} holds a {kind_of(experiment.model)}: expected one of {', '.join(ENTRIES)}, the "
            "networks whose published names are known"
        )
    if options.model not in (None, name):
        raise ValueError(f"{options.source}: expected the network of {options.model}, found that of {name}")
    published = ENTRIES[name][1]
    params = load_params(options.source, abstract_params(experiment.model))
    state = to_published(params, published, experiment.model)
    write_npz(options.out, state, overwrite=options.overwrite, comment=_COMMENT + json.dumps(to_json(experiment)))
    _print(options, experiment, params)
    inferred = published.infer({key: array.shape for key, array in state.items()})
    if unstated := _different(experiment.model, inferred):
        say(f"other programs do not see from the weights: {', '.join(unstated)}; jaxrecon keeps it in {options.out}")
    say(f"wrote {options.out}: {len(state)} arrays under the names of {published.name}")


def _exported(source: Path) -> Experiment | None:
    """The experiment in an .npz written here."""
    from ..weights import read_comment

    comment = read_comment(source)
    if not comment.startswith(_COMMENT):
        return None
    try:
        content = json.loads(comment.removeprefix(_COMMENT))
    except json.JSONDecodeError as error:
        raise ValueError(f"{source}: the configuration in its comment is damaged: {error}") from error
    return from_json(content, where=source)


def _with_untold(config, untold: Any, published: Published):
    """The configuration with what the command line tells of it."""
    told = {name: value for name, value in dataclasses.asdict(untold).items() if value is not None}
    for name in told:
        if name not in published.untold:
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option}: the weights of {published.option} tell it themselves, or it has no such field"
            )
    return dataclasses.replace(config, **told)


def _different(config, other) -> list[str]:
    """Fields in which a configuration differs from another of its kind, with its values."""
    names = [field.name for field in dataclasses.fields(config)]
    return [f"{n} {getattr(config, n)}" for n in names if getattr(config, n) != getattr(other, n)]


def _name(experiment: Experiment) -> str | None:
    """What the weights of an experiment's network are called, where that is known."""
    entry = entry_of(experiment.model)
    return entry.published.option if entry is not None and entry.published is not None else None


def experiment_of(published: Published, config: Any) -> Experiment:
    """What is known of the training of published weights: their network, and the units that their data were in."""
    return Experiment(config, data=DataConfig(mask=None, scale=published.scale), n_updates=0)


def _print(options: Options, experiment: Experiment, params) -> None:
    import jax

    sizes = [f"{f.name} {getattr(experiment.model, f.name)}" for f in dataclasses.fields(experiment.model)]
    n_params = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    rows = [
        ("network", type(experiment.model).__name__, ""),
        ("sizes", ", ".join(sizes), ""),
        ("parameters", f"{n_params:,}", ""),
    ]
    choices(f"{options.source} -> {options.out}", rows)
