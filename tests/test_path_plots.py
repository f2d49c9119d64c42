"""That pictures of curves and distances hold what they say; how they look was looked at."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection, QuadMesh

from pyrogeo import plots
from pyrogeo.geometry import Constant, Curve, Euclidean, distance_map, geodesic
from tests.geometry.metrics import HalfPlane, diagonal


def lines(pairs, d):
    start, end = torch.randn(2, pairs, d)
    return Curve.line(start, end)


def words(ax):
    return ax.get_legend_handles_labels()[1]


def test_paths_in_the_plane():
    metric = diagonal(12, 2)
    ax = plots.latent_space(metric)
    before = ax.get_xlim()
    start, end = metric.centroids[:3], metric.centroids[3:6]
    curves = {"affine": Curve.line(start, end), "geodesic": geodesic(metric, start, end)}
    assert plots.paths(curves, ax) is ax
    assert ax.get_xlim() == before
    assert set(words(ax)) == {"12 centroids", "affine", "geodesic", "start", "end"}
    dashed = [line.get_linestyle() == "--" for line in ax.lines]
    assert dashed == 3 * [True] + 3 * [False]
    for line, curve in zip(ax.lines[3:], curves["geodesic"].curve.nodes, strict=True):
        ends = np.array(line.get_xydata())[[0, -1]]
        np.testing.assert_allclose(ends, curve[[0, -1]].numpy(), atol=1e-9)
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_one_path_alone(d):
    ax = plots.paths({"some": Curve.line(torch.zeros(d), torch.ones(d))})
    assert [text.get_text() for text in ax.texts] == [""]
    assert ax.lines[0].get_linestyle() == "-"


def test_paths_lie_in_the_plane_of_the_latent_space():
    z = torch.randn(40, 5).double()
    ax = plots.latent_space(diagonal(12, 5), z)
    shown = ax.collections[0].get_offsets()
    plots.paths({"affine": Curve.line(z[:2], z[2:4])}, ax, embeddings=z)
    for i, line in enumerate(ax.lines):
        drawn = np.array(line.get_xydata())[[0, -1]]
        np.testing.assert_allclose(drawn, shown[[i, i + 2]], atol=1e-12)


def test_strips_share_words_and_colours_with_paths():
    frames = torch.rand(2, 5, 1, 4, 4)
    names = {"affine": frames, "volume-seeking": 1 - frames}
    ax = plots.strips(names)
    labels = ax.get_yticklabels()
    expected = ["a  affine", "a  volume-seeking", "b  affine", "b  volume-seeking"]
    assert [text.get_text() for text in labels] == expected
    mosaic = ax.images[0].get_array()
    assert mosaic.shape == (4 * 6, 5 * 6, 3)
    np.testing.assert_allclose(mosaic[13:17, 7:11, 0], frames[1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(mosaic[19:23, 7:11, 0], 1 - frames[1, 1, 0], atol=1e-6)
    paths = plots.paths({name: lines(2, 2) for name in names})
    colours = [line.get_color() for line in paths.lines]
    assert [text.get_color() for text in labels] == [colours[i] for i in (0, 2, 1, 3)]
    one = plots.strips({"affine": frames[0]})
    assert [text.get_text() for text in one.get_yticklabels()] == ["affine"]


@pytest.mark.parametrize("number", [7, 30])
def test_any_number_of_kinds_can_be_told_apart(number):
    names = ["affine", *map(str, range(number))]
    ax = plots.paths({name: lines(1, 2) for name in names})
    styles = {
        (line.get_color(), str(line._unscaled_dash_pattern), line.get_linestyle())
        for line in ax.lines
    }
    assert len(styles) == number + 1
    plots.strips({name: torch.rand(2, 1, 4, 4) for name in names})


def test_distance_map():
    axis = torch.linspace(0, 1, 11).double()
    found = distance_map(Euclidean(), torch.tensor([0.0, 0.5]).double(), (axis, 2 * axis))
    ax = plots.distance_map(found)
    (mesh,) = (c for c in ax.collections if isinstance(c, QuadMesh))
    np.testing.assert_array_equal(mesh.get_array().reshape(11, 11), found.distances)
    assert mesh.get_clim() == (0, found.distances.max())
    assert ax.figure.axes[1].get_ylabel() == "distance, contours every 0.18"
    _, own = plt.subplots()
    assert plots.distance_map(found, own, limit=1.0) is own
    assert own.figure.axes[1].get_ylabel() == "distance, contours every 0.1"


def test_indicatrices_are_unit_vectors():
    metric = Constant(torch.tensor([[4.0, 1.0], [1.0, 2.0]]))
    ax = plots.indicatrices(metric, torch.zeros(1, 2), scale=3.0)
    (ellipses,) = (c for c in ax.collections if isinstance(c, EllipseCollection))
    angle = (
        np.radians(ellipses._angles[0]) if np.abs(ellipses._angles[0]) > 7 else ellipses._angles[0]
    )
    for length, turn in ((ellipses._widths[0], 0), (ellipses._heights[0], np.pi / 2)):
        v = length / 3 * torch.tensor([np.cos(angle + turn), np.sin(angle + turn)]).float()
        assert metric.norm(torch.zeros(2), v).item() == pytest.approx(1, rel=1e-5)
    assert words(ax) == ["{v: vᵀ G(z) v = 1}, drawn 3 times as large"]


def test_indicatrices_over_the_latent_space():
    metric = diagonal(12, 2)
    ax = plots.latent_space(metric)
    assert plots.indicatrices(metric, metric.centroids, ax) is ax
    assert any("times as large" in word for word in words(ax))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.paths({}), "nothing to show"),
        (lambda: plots.paths({"a": torch.zeros(3, 2)}), "expected curves"),
        (lambda: plots.paths({"a": lines(2, 2), "b": lines(3, 2)}), "differ"),
        (lambda: plots.paths({"a": lines(2, 3)}, plt.subplots()[1]), "pass the embeddings"),
        (lambda: plots.paths({"a": lines(2, 3)}, embeddings=torch.randn(9, 4)), "dimension 4"),
        (lambda: plots.strips({}), "nothing to show"),
        (lambda: plots.strips({"a": torch.zeros(3, 4, 4)}), r"\(P, T, C, H, W\)"),
        (
            lambda: plots.strips({"a": torch.rand(2, 1, 4, 4), "b": torch.rand(3, 1, 4, 4)}),
            "equal shapes",
        ),
        (lambda: plots.indicatrices(diagonal(5, 3), torch.zeros(4, 3)), "two dimensions"),
        (lambda: plots.indicatrices(HalfPlane(), torch.ones(1, 2), scale=-1), "scale"),
        (lambda: plots.distance_map(a_map(), limit=0), "limit > 0"),
        (lambda: plots.distance_map(a_map(), contours=0), "contours"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def a_map():
    axis = torch.linspace(0, 1, 4)
    return distance_map(Euclidean(), torch.zeros(2), (axis, axis))
