"""D5C5's list of arrays, and weights of PDNet and XPDNet in Keras files: by structure, order and shape."""

import dataclasses
import itertools
import re
import warnings

import h5py
import jax
import numpy as np
import pytest
from support.keras_files import write_keras

import jaxrecon as jr
from jaxrecon import DataError, weights
from jaxrecon.checks import DataWarning
from jaxrecon.experiment import DataConfig
from jaxrecon.experiment.convert import import_weights
from jaxrecon.models import (
    D5C5,
    PDNET_BENCHMARK,
    CascadeConfig,
    PDNetConfig,
    XPDNetConfig,
    abstract_params,
)
from jaxrecon.nn import MWCNN_MEDIUM, MWCNN_SMALL, MWCNNConfig
from jaxrecon.weights import write_npz

PDNET = PDNetConfig(n_steps=2, n_primal=3, n_dual=2, features=4, begin="zero", forward_channel=1)
XPDNET = XPDNetConfig(n_steps=2, denoiser=MWCNNConfig((6, 5), (2, 1), 11), refiner="small", center=0.08)


def drawn(config, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: rng.standard_normal(a.shape).astype(a.dtype), abstract_params(config))


def published(config, kind):
    """(random parameters, the same under our names of their places)."""
    params = drawn(config)
    return params, weights.to_published(params, kind, config)


def networks(state):
    """The arrays of each network: "image_net/0" -> list of arrays."""
    groups = itertools.groupby(state.items(), lambda item: "/".join(item[0].split("/")[:2]))
    return {name: [array for _, array in group] for name, group in groups}


def conv_names(arrays, counter, prefix=""):
    """Keras numbers all its convolutions: conv2d, conv2d_1 ..."""
    names = []
    for _ in arrays[::2]:
        n = next(counter)
        layer = f"{prefix}conv2d{f'_{n}' if n else ''}"
        names += [f"{layer}/kernel:0", f"{layer}/bias:0"]
    return dict(zip(names, arrays, strict=True))


def as_class(state):
    """A subclassed model: a layer for each network, all of one kind after the other, and layers without weights."""
    counter = itertools.count()
    of_kind = lambda kind: {name: arrays for name, arrays in networks(state).items() if name.startswith(kind)}
    layers = {"fft": {}}
    for kind in ("refiner", "image_net", "kspace_net"):
        for name, arrays in of_kind(kind).items():
            layers[name.replace("/", "_")] = conv_names(arrays, counter, "xpd_net/mwcnn/")
    return layers


def as_functions(state):
    """A functional model: a layer for each convolution, in the order in which they are applied."""
    counter, layers = itertools.count(), {"kspace_input": {}}
    found = networks(state)
    for step in range(len(found) // 2):
        for kind in ("kspace_net", "image_net"):
            for name, array in conv_names(found[f"{kind}/{step}"], counter).items():
                layer = name.split("/")[0]
                layers.setdefault(layer, {})[name] = array
        layers[f"lambda_{step}"] = {}
    return layers


@pytest.mark.parametrize(
    ("config", "kind", "layout", "options"),
    [
        (PDNET, weights.PDNET, as_functions, {}),
        (PDNET, weights.PDNET, as_class, {"split": 2}),
        (PDNET, weights.PDNET, as_functions, {"variable": True}),
        (PDNET, weights.PDNET, as_class, {"variable": True, "split": 2}),
        (dataclasses.replace(PDNET, primal_only=True, n_dual=5), weights.PDNET, as_class, {"group": "model_weights"}),
        (XPDNET, weights.XPDNET, as_class, {}),
        (dataclasses.replace(XPDNET, refiner="big", dual_net="cnn", n_dual=2), weights.XPDNET, as_class, {}),
    ],
)
def test_keras_files(config, kind, layout, options, tmp_path):
    params, state = published(config, kind)
    write_keras(tmp_path / "weights.h5", layout(state), **options)
    own, found = weights.from_published(weights.read(tmp_path / "weights.h5"), kind)
    assert found == config
    jax.tree.map(np.testing.assert_array_equal, own, params)


def test_keras_weights_become_a_run(tmp_path):
    _, state = published(PDNET, weights.PDNET)
    write_keras(tmp_path / "weights.h5", as_functions(state))
    told = {"begin": "adjoint", "forward_channel": 0}
    converted = import_weights(tmp_path / "weights.h5", tmp_path / "run", model="pdnet", untold=told)
    assert converted.experiment.model == dataclasses.replace(PDNET, **told)
    assert converted.experiment.data.scale == "1e-6"  # as the reference's data are
    jr.experiment.convert.export_weights(tmp_path / "run", tmp_path / "back.npz")
    back = weights.read_npz(tmp_path / "back.npz")
    assert list(back) == list(state)
    jax.tree.map(np.testing.assert_array_equal, back, dict(state))


@pytest.mark.parametrize("denoiser", [MWCNN_SMALL, MWCNN_MEDIUM])
def test_published_sizes(denoiser):
    """The small one has as many channels at full resolution as at half of it."""
    config = XPDNetConfig(n_steps=1, denoiser=denoiser, center=0.08)
    kernels = {rule.name: np.broadcast_to(np.float32(0), rule.shape) for rule in weights.XPDNET.rules(config)}
    state = {f"{i}/{name}": array for i, (name, array) in enumerate(kernels.items())}
    assert weights.from_published(state, weights.XPDNET)[1] == config
    assert weights.PDNET.infer({}) == PDNET_BENCHMARK


def test_other_keras_files_are_refused(tmp_path):
    path = tmp_path / "weights.h5"
    _, state = published(PDNET, weights.PDNET)
    _, xpdnet = published(dataclasses.replace(XPDNET, n_steps=1), weights.XPDNET)

    def refused(reason, layers=None, kind=weights.PDNET):
        if layers is not None:
            write_keras(path, layers)
        with pytest.raises(DataError, match=reason):
            weights.from_published(weights.read(path), kind)

    refused("these are no weights of PDNet, but of a network whose first one", as_class(xpdnet))
    refused("these are no weights of XPDNet with an MWCNN", as_class(state), weights.XPDNET)
    dense = {"dense": {"dense/kernel:0": np.zeros((3, 4)), "dense/bias:0": np.zeros(4)}}
    refused(r"expected kernels \(y, x, in, out\), each followed by its bias", dense)
    refused(
        r"a kernel of shape \(3, 3, 1, 8\) begins none of their networks",
        {"a": conv_names([np.zeros((3, 3, 1, 8)), np.zeros(8)], itertools.count())},
    )
    cut = dict(itertools.islice(as_functions(state).items(), 10))  # within a network
    refused("begins none of their networks, or one that is cut off", cut)
    whole = as_functions(state)
    last = [name for name in whole if whole[name]][-9:]  # without the last networks of a step
    refused(r"(?s)missing \(.*image_net/1/0/kernel", {name: whole[name] for name in whole if name not in last[-3:]})


def test_damaged_keras_files_are_refused(tmp_path):
    path = tmp_path / "weights.h5"
    _, state = published(PDNET, weights.PDNET)
    write_keras(path, as_functions(state))
    whole = path.read_bytes()
    for n in (len(whole) // 2, 100):
        (tmp_path / "cut.h5").write_bytes(whole[:n])
        with pytest.raises(DataError):
            weights.read(tmp_path / "cut.h5")
    with h5py.File(path, "a") as file:
        del file["conv2d_1"]["conv2d_1"]["bias:0"]
    with pytest.raises(DataError, match=r"bias:0.* it is missing|it is missing"):
        weights.read(path)
    with h5py.File(path, "a") as file:
        del file["conv2d_1"]
        file["conv2d_1"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(DataError, match="this is no group"):
        weights.read(path)
    with h5py.File(path, "w") as file:
        file["kspace"] = np.zeros(3)
    with pytest.raises(DataError, match="these are no weights of Keras"):
        weights.read(path)


def test_what_a_network_says_of_a_scan_that_is_unlike_its_training(tmp_path):
    """A zero frequency at index 0, as the public code of D5C5 has it, and twice the acceleration; once for a scan."""
    config = dataclasses.replace(D5C5, n_steps=1, features=2, layers=2)
    arrays = weights.to_published(drawn(config), weights.D5C5, config).values()
    np.savez(tmp_path / "d5c5.npz", *arrays)
    trained = DataConfig(acceleration=2.0)
    experiment = dataclasses.replace(
        import_weights(tmp_path / "d5c5.npz", tmp_path / "run", model="d5c5").experiment, data=trained
    )
    network = dataclasses.replace(jr.load_network(tmp_path / "run"), experiment=experiment)
    kspace = np.fft.fftshift(np.fft.fft2(np.ones((32, 24))) + 0.1).astype(np.complex64)[None, None]
    every = lambda n: np.broadcast_to(np.arange(24) % n == 0, (32, 24))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jr.reconstruct(kspace, network=network, mask=every(2))
    with pytest.warns(DataWarning, match="one sample of 4 is measured, and .* was trained with R = 2") as told:
        jr.reconstruct(np.concatenate([kspace] * 2), network=network, mask=every(4))
    assert len(told) == 1
    with pytest.warns(DataWarning, match="is the array not centred"):
        jr.reconstruct(np.fft.ifftshift(kspace, (-2, -1)), network=network)


def test_the_list_of_d5c5(tmp_path):
    """As numpy.savez names a list; data in any unit are brought to the one that it was trained in."""
    config = dataclasses.replace(D5C5, n_steps=2, features=3, layers=3)
    params = drawn(config)
    arrays = list(weights.to_published(params, weights.D5C5, config).values())
    np.savez(tmp_path / "d5c5.npz", *arrays)
    converted = import_weights(tmp_path / "d5c5.npz", tmp_path / "run", model="d5c5")
    assert converted.experiment.model == config
    jax.tree.map(np.testing.assert_array_equal, converted.params, params)
    network = jr.load_network(tmp_path / "run")
    kspace, mask = np.ones((1, 8, 6), np.complex64), np.ones((8, 1), bool)
    mask[::2] = False
    one, many = (network.reconstruct(unit * mask * kspace, mask, None)[0] for unit in (1, np.float32(1e6)))
    np.testing.assert_allclose(many / 1e6, one, rtol=1e-4, atol=1e-5)
    write_npz(tmp_path / "cut.npz", {f"arr_{i}": a for i, a in enumerate(arrays[:-1])})
    with pytest.raises(DataError, match=r"missing \(1\): arr_11 \(2,\)"):
        import_weights(tmp_path / "cut.npz", tmp_path / "no", model="d5c5")
    assert weights.D5C5.infer({}) == D5C5
    with pytest.raises(ValueError, match="not learned"):
        weights.D5C5.rules(CascadeConfig(learn_consistency=True))
    assert re.match("arr_0", weights.D5C5.rules(D5C5)[0].name)
