"""`jaxrecon convert`: published weights to a run folder that `jaxrecon recon` reads, and back."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro

from .common import check_output, choices, say

if TYPE_CHECKING:
    from ..training.experiment import Experiment
    from ..weights import Published

WeightsName = Literal["fastmri-unet", "e2e-varnet", "modl", "deep-jsense", "promptmr", "promptmr-plus"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Convert published weights to a run folder, or a run folder to weights under their published names.

    Reads files of PyTorch (.pt, .pth, .ckpt), checkpoints of TensorFlow (by their prefix) and .npz; none of them is
    executed, and neither PyTorch nor TensorFlow is needed. The sizes of the network are seen from the weights. PromptMR and
    the baseline of PromptMR+ have the same: a checkpoint that states its model_version is held to it.

    Examples:
      jaxrecon convert knee_leaderboard_state_dict.pt --model e2e-varnet --out runs/varnet
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5
      jaxrecon convert runs/varnet --out weights.npz
    """

    source: tyro.conf.Positional[Path]
    """A file of weights, or a run folder."""
    out: Path
    """The run folder to make, or the .npz to write."""
    model: WeightsName | None = None
    """What the weights are; of a run folder it is known."""
    part: str | None = None
    """Which dict of tensors is wanted, where a PyTorch checkpoint holds several."""
    n_steps: int | None = None
    """Steps, where the weights do not tell: MoDL and Deep J-Sense share theirs (default 10 and 6, as published)."""
    overwrite: bool = False
    """Replace an existing .npz."""


def run(options: Options) -> None:
    """In the direction that the source has."""
    from ..training.checkpoints import FOLDER

    if (options.source / FOLDER).is_dir():
        _to_weights(options)
    else:
        _to_run(options)


def _to_run(options: Options) -> None:
    from ..training import Checkpoints, TrainState
    from ..training.checkpoints import FOLDER
    from ..training.experiment_json import to_json
    from ..training.networks import build
    from ..weights import from_published, read

    if options.model is None:
        raise ValueError(f"{options.source} is no run folder; weights need --model: one of {', '.join(published())}")
    if (options.out / FOLDER).exists():
        raise FileExistsError(f"{options.out} holds a run already: choose another folder")
    if options.out.suffix == ".npz":
        raise ValueError(f"cannot write {options.out}: {options.source} is no run folder; weights become a folder")
    import jax
    import jax.numpy as jnp

    params, config = from_published(read(options.source, part=options.part), published()[options.model])
    _check_version(options.source, options.model)
    if options.n_steps is not None:
        if not getattr(config, "shared", False):
            raise ValueError(f"--n-steps: the weights of {options.model} tell it themselves")
        config = dataclasses.replace(config, n_steps=options.n_steps)
    build(config)  # refuses sizes that make no network
    params = jax.tree.map(jnp.asarray, params)
    experiment = experiment_of(options.model, config)
    state = TrainState(jnp.zeros((), jnp.int32), params, (), jax.random.key(0))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot make the folder {options.out}: {error.strerror}") from error
    with Checkpoints(options.out) as checkpoints:
        checkpoints.save(state, config=to_json(experiment))
    _print(options, experiment, params)
    say(f"wrote {options.out}; to use it: jaxrecon recon SCAN --checkpoint {options.out} --out recon.h5")


def _check_version(source: Path, model: WeightsName) -> None:
    """Refuse weights that are stated to be of another arithmetic under the same names; say so where nothing is stated."""
    from ..weights import read_settings

    kinds = published()
    if not kinds[model].versions:
        return
    versions = {version: name for name, kind in kinds.items() for version in kind.versions}
    stated = read_settings(source).get("model_version")
    if stated is None:
        like = " and ".join(kinds[name].name for name in versions.values())
        say(f"{source} states no model_version: read as {model}; weights of {like} may have the same names and shapes")
    elif stated not in kinds[model].versions:
        cure = f"give --model {versions[str(stated)]}" if stated in versions else f"known are {', '.join(versions)}"
        raise ValueError(
            f"{source} states model_version {stated}, which is not the arithmetic of --model {model}: {cure}"
        )


def _to_weights(options: Options) -> None:
    check_output(options.out, suffixes=(".npz",), overwrite=options.overwrite)
    from ..training import load_config, load_params
    from ..training.experiment_json import from_json
    from ..training.networks import abstract_params, model_name
    from ..weights import to_published, write_npz

    experiment = from_json(load_config(options.source), where=options.source)
    name = next((n for n in published() if type(experiment.model) is _configs()[n]), None)
    if name is None:
        raise ValueError(
            f"{options.source} holds a {model_name(experiment.model)}: expected one of {', '.join(published())}, the "
            "networks whose published names are known"
        )
    if options.model not in (None, name):
        raise ValueError(f"{options.source}: expected the network of {options.model}, found that of {name}")
    params = load_params(options.source, abstract_params(experiment.model))
    state = to_published(params, published()[name], experiment.model)
    write_npz(options.out, state, overwrite=options.overwrite)
    _print(options, experiment, params)
    say(f"wrote {options.out}: {len(state)} arrays under the names of {published()[name].name}")


def published() -> "dict[str, Published]":
    """Name -> what its weights are called."""
    from ..weights import DEEP_JSENSE, E2E_VARNET, FASTMRI_UNET, MODL, PROMPTMR, PROMPTMR_PLUS

    return {
        "fastmri-unet": FASTMRI_UNET,
        "e2e-varnet": E2E_VARNET,
        "modl": MODL,
        "deep-jsense": DEEP_JSENSE,
        "promptmr": PROMPTMR,
        "promptmr-plus": PROMPTMR_PLUS,
    }


def _configs():
    from ..models import DeepJSenseConfig, MoDLConfig, PromptMRConfig, PromptMRPlusConfig, UNetConfig, VarNetConfig

    return {
        "fastmri-unet": UNetConfig,
        "e2e-varnet": VarNetConfig,
        "modl": MoDLConfig,
        "deep-jsense": DeepJSenseConfig,
        "promptmr": PromptMRConfig,
        "promptmr-plus": PromptMRPlusConfig,
    }


def experiment_of(name: WeightsName, config) -> "Experiment":
    """What is known of the training of published weights: their network, and the units that their data were in."""
    from ..training.experiment import Experiment, ScaleName

    # fastMRI's networks normalise for themselves; MoDL's images had a maximum of 1, Deep J-Sense's k-space
    scales: dict[str, ScaleName] = {"modl": "maximum", "deep-jsense": "kspace_maximum"}
    return Experiment(config, scale=scales.get(name, "none"), n_updates=0)


def _print(options: Options, experiment: "Experiment", params) -> None:
    import jax

    sizes = [f"{f.name} {getattr(experiment.model, f.name)}" for f in dataclasses.fields(experiment.model)]
    n_params = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    rows = [
        ("network", type(experiment.model).__name__, ""),
        ("sizes", ", ".join(sizes), ""),
        ("parameters", f"{n_params:,}", ""),
    ]
    choices(f"{options.source} -> {options.out}", rows)
