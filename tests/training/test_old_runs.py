"""Run folders of an earlier version (commit 338a9c6), trained and converted ones: they load, and reconstruct what they did."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxrecon.recon import load_network

RUNS = sorted((Path(__file__).parents[1] / "fixtures" / "runs_338a9c6").glob("*.zip"))


@pytest.mark.parametrize("archive", RUNS, ids=lambda p: p.stem)
def test_reconstructs_as_it_did(archive, tmp_path):
    """Each archive is a run folder, with k-space, mask, maps where the network takes some, and the image of that version."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    network = load_network(tmp_path)
    # the default of that version, which one run was trained without
    assert network.experiment.data.espirit_crop == (0 if archive.stem == "deep-jsense-modl" else 0.95)
    with np.load(tmp_path / "expected.npz") as expected:
        maps = expected["maps"] if "maps" in expected else None
        image, _ = network.reconstruct(expected["kspace"], expected["mask"], maps)
        np.testing.assert_allclose(image, expected["image"], rtol=1e-4, atol=1e-4 * np.abs(expected["image"]).max())
