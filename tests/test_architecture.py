"""The picture of the packages is the one that the code gives."""

from tests.architecture_picture import PICTURE, draw, layers_of, package_edges, without_shortcuts


def test_the_committed_picture_is_current() -> None:
    assert PICTURE.read_text() == draw(), "run `python -m tests.architecture_picture`"


def test_every_import_between_packages_points_to_a_lower_layer() -> None:
    for floor in ("schema", "services"):
        level = {name: index for index, layer in enumerate(layers_of(floor)) for name in layer}
        edges = package_edges(floor)
        assert edges, floor
        assert [edge for edge in edges if level[edge[0]] >= level[edge[1]]] == []


def test_an_arrow_that_a_longer_path_implies_is_left_out() -> None:
    edges = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}
    assert without_shortcuts(edges) == {("a", "b"), ("b", "c"), ("a", "d")}
