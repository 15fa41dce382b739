"""What several tests of the command line use, made once: scans that `prepare` made ready, and a network trained on them."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.files import write_fastmri
from support.scans import PREPARE, TRAIN, measured

from jaxrecon.cli import main


class Made(NamedTuple):
    """A folder that a command made, and what the command printed."""

    path: Path
    text: str


def made(path, command):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main([*command, "--out", str(path)]) == 0
    return Made(path, printed.getvalue())


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Four scans of two slices, the second half as bright, in units of 1e-4 to 4e-4."""
    folder = tmp_path_factory.mktemp("raw")
    for i in range(4):
        kspace, _ = measured(unit=1e-4 * (i + 1))
        write_fastmri(folder / f"scan{i}.h5", np.stack([kspace, 0.5 * kspace]), acquisition=f"T{i % 2 + 1}")
    return folder


@pytest.fixture(scope="session")
def prepared(raw, tmp_path_factory):
    return made(tmp_path_factory.mktemp("prepared") / "ready", ["prepare", str(raw), *PREPARE])


@pytest.fixture(scope="session")
def trained(prepared, tmp_path_factory):
    """Four steps of a small network by GLEAM."""
    return made(tmp_path_factory.mktemp("trained") / "run", [*TRAIN, "--data", str(prepared.path), "--n-updates", "4"])
