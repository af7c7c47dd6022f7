"""Robot meshes are read in whole columns and thinned on a grid."""

import numpy as np
import pytest

from como_ros.lab.meshes import cluster, read_mesh

OBJ = """# a square
mtllib square.mtl
v 0 0 0
v 1e-1 0 0
vn 0 0 1
v .1 0.1 -0
v 0 0.1 0
vt 0.5 0.5
"""


@pytest.mark.parametrize("faces", ["f 1/1/1 2/1/1 3/1/1\nf 1 3//1 4\n", "f 1//1 2/1 3 4\n"])
def test_corners_name_their_vertex_first_and_a_polygon_is_a_fan_of_triangles(tmp_path, faces):
    path = tmp_path / "square.obj"
    path.write_text(OBJ + faces)
    vertices, triangles = read_mesh(path)
    assert vertices.tolist() == [[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]]
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_vertices_of_one_cell_become_their_mean_and_what_collapses_goes():
    vertices = np.array([[0, 0, 0], [0.002, 0, 0], [0.1, 0, 0], [0, 0.1, -0.1]])
    light, triangles = cluster(vertices, np.array([[0, 1, 2], [0, 2, 3], [1, 3, 2]]), 0.01)
    assert light.tolist() == [[0.001, 0, 0], [0, 0.1, -0.1], [0.1, 0, 0]]
    assert triangles.tolist() == [[0, 2, 1]]
