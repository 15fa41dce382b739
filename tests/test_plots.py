import matplotlib.image
import matplotlib.pyplot
import numpy as np
import pytest
from support.type_check import as_user

from jaxrecon import plots


@pytest.fixture
def image(rng):
    return rng.random((33, 24))


def panels(figure):
    """Axes that hold an image, without the colour bar."""
    return [axes for axes in figure.axes if axes.images]


def test_window_survives_a_bright_spot_and_flat_images(image):
    image[3, 4] = 1e4
    low, high = plots.display_window(image)
    assert low == 0 and 0.9 < high < 1.5
    assert plots.display_window(image * np.exp(1j * image)) == pytest.approx((low, high))
    assert plots.display_window(np.zeros((5, 4))) == (0, 1)
    spot = np.zeros((64, 64))
    spot[3, 4] = 2
    assert plots.display_window(spot) == (0, 2)
    assert plots.display_window(image - 2)[0] < -1
    assert plots.display_window(np.full((2, 2), np.nan)) == (0, 1)


def test_grid_shows_arrays_as_they_are_stored(image, random_complex):
    figure = plots.image_grid(
        {"a": image, "b": random_complex((17, 40)), "c": image, "d": image, "e": image}, columns=3
    )
    shown = panels(figure)
    assert [axes.get_title() for axes in shown] == list("abcde")
    np.testing.assert_array_equal(shown[0].images[0].get_array(), image)
    assert shown[0].images[0].origin == "upper" and shown[0].images[0].get_interpolation() == "nearest"
    assert (shown[1].images[0].get_array() >= 0).all()
    rows = {round(axes.get_subplotspec().get_position(figure).y0, 3) for axes in shown}
    assert len(rows) == 2
    assert len(panels(plots.image_grid([image] * 7))) == 7


def test_one_window_for_all_panels(image):
    figure = plots.image_grid([image, 5 * image], window=(0.1, 0.7))
    assert {axes.images[0].get_clim() for axes in panels(figure)} == {(0.1, 0.7)}


def test_comparison_has_errors_with_their_scale(image):
    prediction = {"zero-filled": 0.5 * image, "network": image + 0.01}
    figure = plots.comparison(image, prediction, captions={"network": "40 dB"}, error_factor=10)
    assert len(panels(figure)) == 5
    errors = [axes for axes in panels(figure) if axes.get_title() == "error x 10"]
    assert len(errors) == 2
    low, high = plots.display_window(image)
    np.testing.assert_allclose(errors[1].images[0].get_array(), 0.01 / (high - low))
    assert errors[0].images[0].get_clim() == (0, 0.1)
    assert any("|error|" in axes.get_ylabel() for axes in figure.axes)
    images = [axes for axes in panels(figure) if "error" not in axes.get_title()]
    assert len({axes.images[0].get_clim() for axes in images}) == 1
    assert images[2].get_title() == "network\n40 dB"


def test_zoom_adds_a_row_and_a_frame(image):
    zoom = (slice(3, 9), slice(20, None))
    figure = plots.comparison(image, {"a": image}, zoom=zoom)
    assert len(panels(figure)) == 5
    enlarged = [axes for axes in panels(figure) if axes.images[0].get_array().shape == (6, 4)]
    assert len(enlarged) == 2
    np.testing.assert_array_equal(enlarged[0].images[0].get_array(), image[zoom])
    x, y = panels(figure)[0].lines[0].get_data()
    assert (min(y), max(y), min(x), max(x)) == (2.5, 8.5, 19.5, 23.5)
    with pytest.raises(ValueError, match="no pixel"):
        plots.comparison(image, {"a": image}, zoom=(slice(50, 60), slice(0, 4)))


def test_masks_state_their_acceleration():
    lines = np.zeros(12)
    lines[::3] = 1
    figure = plots.mask_grid({"lines": lines, "points": np.eye(6)})
    first, second = panels(figure)
    assert first.get_title() == "lines\nR = 3.00" and second.get_title() == "points\nR = 6.00"
    assert first.images[0].get_array().shape == (12, 12)
    with pytest.raises(ValueError, match="with a sample"):
        plots.mask_grid([np.zeros((4, 4))])


def test_trajectory_joins_spokes(rng):
    points = rng.uniform(-np.pi, np.pi, (5 * 7, 2))
    axes = plots.trajectory_plot(points, n_samples=7).axes[0]
    assert len(axes.lines) == 5 and axes.yaxis_inverted()
    np.testing.assert_array_equal(np.array(axes.lines[2].get_data()), points[14:21, ::-1].T)
    np.testing.assert_array_equal(
        np.array(plots.trajectory_plot(points).axes[0].lines[0].get_data()), points[:, ::-1].T
    )
    with pytest.raises(ValueError, match="whole number"):
        plots.trajectory_plot(points, n_samples=6)
    with as_user(), pytest.raises(ValueError, match=r"\(sample, 2\)"):
        plots.trajectory_plot(points.T)


def test_curves(rng):
    step = np.arange(30)
    axes = plots.curves(
        {"train": (step, rng.random(30)), "test": (step, rng.random(30))}, xlabel="step", ylabel="l", log_y=True
    )
    axes = axes.axes[0]
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "step"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test"]
    with pytest.raises(ValueError, match="'a'"):
        plots.curves({"a": (step, step[:-1])}, xlabel="", ylabel="")
    with pytest.raises(ValueError, match="no line"):
        plots.curves({}, xlabel="", ylabel="")


def test_sizes_must_fit(image):
    with pytest.raises(ValueError, match=r"'b' has size \(33, 23\).*\(33, 24\).*crop_to_target"):
        plots.comparison(image, {"a": image, "b": image[:, :-1]})
    with pytest.raises(ValueError, match="slice or frame"):
        plots.image_grid([np.zeros((2, 5, 4))])
    with pytest.raises(ValueError, match="no image"):
        plots.image_grid([])


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_save_writes_whole_files_only(tmp_path, image, suffix):
    path = tmp_path / "figures" / f"result{suffix}"
    assert plots.save(plots.comparison(image, {"a": 0.9 * image}), path, dpi=50) == path
    assert path.stat().st_size > 1000 and [p.name for p in path.parent.iterdir()] == [path.name]
    if suffix == ".png":
        assert matplotlib.image.imread(path).std() > 0.05


def test_failed_save_leaves_nothing_behind(tmp_path, image, monkeypatch):
    figure = plots.image_grid([image])
    with pytest.raises(ValueError, match=r"\.bmp|suffixes"):
        plots.save(figure, tmp_path / "figure.bmp")
    old = plots.save(figure, tmp_path / "figure.png", dpi=30).read_bytes()

    def fail(*args, **options):
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, tmp_path / "figure.png")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert (tmp_path / "figure.png").read_bytes() == old


def test_no_global_state(image):
    plots.image_grid([image])
    assert matplotlib.pyplot.get_fignums() == []
