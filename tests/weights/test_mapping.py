import jax.numpy as jnp
import numpy as np
import pytest

from jaxrecon import DataError
from jaxrecon.weights import Published, Rule, from_published, read, read_npz, to_published, write_npz
from jaxrecon.weights.mapping import count, size

CONVOLUTION = (2, 3, 1, 0)


def toy_rules(n):
    rules = [
        Rule("first.weight", (4, 2, 3, 5), "start/first/kernel", CONVOLUTION),
        Rule("as_is", (2, 3, 4), "start/as_is"),
    ]
    for t in range(n):
        rules.append(Rule(f"blocks.{t}.weight", (3, 2), "steps/net/kernel", (1, 0), step=t))
        rules.append(Rule(f"blocks.{t}.gain", (1,), "steps/gain", step=t, scalar=True))
    return rules


TOY = Published("toys", lambda shapes: count(shapes, "blocks."), toy_rules, ignored=("*.w", "epoch"))


def random_state(rules, dtype=np.float32):
    rng = np.random.default_rng(1)
    return {rule.name: rng.standard_normal(rule.shape).astype(dtype) for rule in rules}


@pytest.mark.parametrize("n", [1, 3])
def test_layouts_and_stacking_both_ways(n):
    state = random_state(toy_rules(n))
    params, config = from_published(state, TOY)
    assert config == n
    assert set(params) == {"start", "steps"}
    assert params["start"]["first"]["kernel"].shape == (3, 5, 2, 4)
    assert params["start"]["first"]["kernel"][1, 4, 0, 3] == state["first.weight"][3, 0, 1, 4]
    np.testing.assert_array_equal(params["start"]["as_is"], state["as_is"])
    assert params["steps"]["net"]["kernel"].shape == (n, 2, 3)
    assert params["steps"]["gain"].shape == (n,)
    for t in range(n):
        np.testing.assert_array_equal(params["steps"]["net"]["kernel"][t], state[f"blocks.{t}.weight"].T)
        assert params["steps"]["gain"][t] == state[f"blocks.{t}.gain"][0]
    back = to_published({k: v for k, v in params.items()}, TOY, config)
    assert list(back) == list(state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])
        assert back[name].dtype == np.float32


def test_more_than_ten_steps_stay_in_order():
    state = random_state(toy_rules(12))
    params, _ = from_published(dict(sorted(state.items())), TOY)
    np.testing.assert_array_equal(params["steps"]["gain"], [state[f"blocks.{t}.gain"][0] for t in range(12)])


def test_everything_that_does_not_fit_is_told_at_once():
    state = random_state(toy_rules(3))
    del state["first.weight"], state["blocks.1.gain"]
    state |= {"stranger": np.zeros(2), "blocks.0.weight": np.zeros((2, 3)), "blocks.2.gain": np.zeros(1, int)}
    with pytest.raises(DataError) as error:
        from_published(state, TOY)
    text = str(error.value)
    assert "toys with 3" in text
    for part in (
        "missing (2): first.weight (4, 2, 3, 5), blocks.1.gain (1,)",
        "unknown (1): stranger (2,)",
        "of another shape (1): blocks.0.weight (2, 3), not (3, 2)",
        "no real numbers (1): blocks.2.gain int64",
    ):
        assert part in text


def test_parameters_that_do_not_fit_are_told_at_once():
    params, config = from_published(random_state(toy_rules(2)), TOY)
    params["steps"] = {"gain": params["steps"]["gain"][:1], "other": np.zeros(3)}
    with pytest.raises(DataError) as error:
        to_published(params, TOY, config)
    text = str(error.value)
    assert "missing (1): steps/net/kernel (2, 2, 3)" in text
    assert "unknown (1): steps/other (3,)" in text
    assert "of another shape (1): steps/gain (1,), not (2,)" in text


def test_prefixes_are_stripped_and_buffers_ignored():
    state = random_state(toy_rules(2))
    for prefix in ("module.net.", "model.", "_orig_mod.", "varnet.module.", "blocks.", "first/", "a.b.c."):
        dressed = {f"{prefix}{k}": v for k, v in state.items()} | {"loss.w": np.ones(7), "epoch": np.int64(3)}
        params, _ = from_published(dressed | {f"{prefix}loss.w": np.ones(7)}, TOY)
        np.testing.assert_array_equal(params["steps"]["net"]["kernel"][1], state["blocks.1.weight"].T)
    with pytest.raises(DataError, match=r"unknown \(1\): net\.first\.weight"):
        from_published({**state, "net.first.weight": state["first.weight"]}, TOY)


def test_names_of_another_network_start_from_no_configuration():
    """Nothing in the file says what a toy of such a size would be like."""
    with pytest.raises(DataError) as error:
        from_published({"fc.weight": np.ones((3, 4)), "fc.bias": np.ones(3)}, TOY)
    assert str(error.value) == (
        "these are not the weights of toys: of its names, as first.weight, as_is, blocks.0.weight and 1 more, there is none; "
        "there are fc.weight, fc.bias"
    )
    with pytest.raises(DataError, match="there are none"):
        from_published({}, TOY)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    state = random_state(toy_rules(2))
    state["blocks.1.gain"][0] = state["as_is"][0, 0, 0] = value
    with pytest.raises(DataError, match=r"not finite \(2\): as_is, blocks\.1\.gain"):
        from_published(state, TOY)


def test_given_configuration_counts():
    with pytest.raises(DataError, match=r"unknown \(2\): blocks.1.weight"):
        from_published(random_state(toy_rules(2)), TOY, config=1)


@pytest.mark.parametrize(("given", "kept"), [("float16", "float32"), ("bfloat16", "float32"), ("float64", "float64")])
def test_precision(given, kept):
    state = {k: v.astype(jnp.dtype(given)) for k, v in random_state(toy_rules(1)).items()}
    params, _ = from_published(state, TOY)
    kernel = params["start"]["first"]["kernel"]
    assert kernel.dtype == kept
    np.testing.assert_array_equal(kernel, state["first.weight"].transpose(CONVOLUTION).astype(kept))


def test_a_hostile_name_does_not_make_many_steps():
    with pytest.raises(DataError, match="toys with 1"):
        from_published({"blocks.999999999.gain": np.zeros(1), "as_is": np.zeros(1)}, TOY)
    with pytest.raises(DataError, match="there is none"):
        from_published({"." * 10**6 + str(n): np.zeros(1) for n in range(3)}, TOY)
    assert size({"a": (2, 3)}, "a", -1, 7) == 3
    assert size({"a": ()}, "a", 0, 7) == 7
    assert size({}, "a", 0, 7) == 7


def test_npz_both_ways_is_exact_repeatable_and_atomic(tmp_path):
    state = random_state(toy_rules(2)) | {"file": np.asfortranarray(np.arange(6).reshape(2, 3)), "a/b": np.float64(2)}
    write_npz(tmp_path / "w.npz", state)
    back = read(tmp_path / "w.npz")
    assert list(back) == list(state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])
        assert back[name].dtype == state[name].dtype
    with np.load(tmp_path / "w.npz") as numpy_reads:
        np.testing.assert_array_equal(numpy_reads["first.weight"], state["first.weight"])
    first = (tmp_path / "w.npz").read_bytes()
    with pytest.raises(FileExistsError):
        write_npz(tmp_path / "w.npz", state)
    write_npz(tmp_path / "w.npz", state, overwrite=True)
    assert (tmp_path / "w.npz").read_bytes() == first
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "w.npz", {"a": np.array([None])}, overwrite=True)
    assert (tmp_path / "w.npz").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_npz_of_bfloat16_is_float32(tmp_path):
    write_npz(tmp_path / "w.npz", {"a": jnp.asarray([1.5, -2], jnp.bfloat16)})
    a = read_npz(tmp_path / "w.npz")["a"]
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, [1.5, -2])


def test_damaged_npz_is_one_error(tmp_path, rng):
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"'a'.*objects are not read"):
        read(tmp_path / "objects.npz")
    path = tmp_path / "w.npz"
    np.savez_compressed(path, a=np.arange(30.0), b=np.ones((2, 3)))
    data = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        with path.open("r+b") as file:
            file.write(damaged)
        try:
            state = read(path)
        except DataError:
            continue
        assert sum(a.nbytes for a in state.values()) < 1000
