"""Files are written beside their place and renamed, whatever their names."""

import numpy as np
import pytest

from affekt.runtime.files import replacing_folder, save_npy, write_text


@pytest.mark.parametrize("name", ["x" * 251 + ".npy", "é" * 125 + ".npy", "a." + "y" * 250])
def test_the_longest_names_of_a_file_system_are_written(tmp_path, name):
    assert 246 <= len(name.encode()) <= 255
    write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"
    save_npy(tmp_path / name, np.arange(3))
    with replacing_folder(tmp_path / ("z" * 255)) as folder:
        (folder / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "z" * 255])
