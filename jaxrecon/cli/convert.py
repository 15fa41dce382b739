"""`jaxrecon convert`: published weights to a run folder that `jaxrecon recon` reads, and back."""

import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..experiment.convert import WEIGHTS, Converted, export_weights, import_weights, is_run
from ..sampling.named import names
from .common import check_output, choices, literal, say

if TYPE_CHECKING:
    WeightsName = str
else:
    WeightsName = Literal[tuple(WEIGHTS)]


def _untold() -> type:
    """A dataclass of all fields that some weights do not tell, None where nothing is said: an option for each."""
    told: dict[str, list[str]] = {}
    hints: dict[str, Any] = {}
    for option, (entry, published) in WEIGHTS.items():
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

    Reads files of PyTorch (.pt, .pth, .ckpt), checkpoints of TensorFlow (by their prefix), files of Keras (.h5) and .npz;
    none of them is executed, and neither PyTorch nor TensorFlow is needed. The sizes of the network are seen from the weights. PromptMR and
    the baseline of PromptMR+ have the same: a checkpoint that states its model_version is held to it. An .npz written here
    keeps the whole configuration too, and comes back as the network that it was.

    Examples:
      jaxrecon convert knee_leaderboard_state_dict.pt --model e2e-varnet --out runs/varnet
      jaxrecon recon scan.h5 --checkpoint runs/varnet --out recon.h5
      jaxrecon convert calgary.ckpt --model promptmr-plus --mask calgary-poisson --acs 18 --out runs/calgary
      jaxrecon convert d5_c5.npz --model d5c5 --out runs/d5c5
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
    if is_run(options.source):
        _to_weights(options)
    else:
        _to_run(options)


def _to_run(options: Options) -> None:
    told = {name: value for name, value in dataclasses.asdict(options.untold).items() if value is not None}
    converted = import_weights(
        options.source,
        options.out,
        model=options.model,
        part=options.part,
        mask=options.mask,
        acs=options.acs,
        untold=told,
    )
    _print(options, converted)
    say(f"wrote {options.out}; to use it: jaxrecon recon SCAN --checkpoint {options.out} --out recon.h5")


def _to_weights(options: Options) -> None:
    check_output(options.out, suffixes=(".npz",), overwrite=options.overwrite)
    converted = export_weights(options.source, options.out, model=options.model, overwrite=options.overwrite)
    _print(options, converted)
    say(f"wrote {options.out}: {len(converted.state)} arrays under the names of {converted.published.name}")


def _print(options: Options, converted: Converted) -> None:
    model = converted.experiment.model
    sizes = [f"{f.name} {getattr(model, f.name)}" for f in dataclasses.fields(model)]
    rows = [
        ("network", type(model).__name__, ""),
        ("sizes", ", ".join(sizes), ""),
        ("parameters", f"{converted.n_params:,}", ""),
    ]
    choices(f"{options.source} -> {options.out}", rows)
    if converted.remark:
        say(converted.remark)
