"""Files are written beside their place and renamed, whatever their names."""

import numpy as np
import pytest

from affekt.runtime.files import (
    DamagedFileError,
    load_npy,
    replacing_folder,
    save_npy,
    write_text,
)


@pytest.mark.parametrize("name", ["x" * 251 + ".npy", "é" * 125 + ".npy", "a." + "y" * 250])
def test_the_longest_names_of_a_file_system_are_written(tmp_path, name):
    assert 246 <= len(name.encode()) <= 255
    write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"
    save_npy(tmp_path / name, np.arange(3))
    with replacing_folder(tmp_path / ("z" * 255)) as folder:
        (folder / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "z" * 255])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(5, dtype=">i2"),
        np.float64(3),
        np.zeros((0, 13), np.float32),
        np.array([(1, 2.5)], dtype=[("ä" * 3, "i4"), ("b", "f8")]),  # header version 3
    ],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    for _ in range(2):  # the second time with a header that is known
        found = load_npy(tmp_path / "a.npy", None, "make it")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == np.asarray(array).dtype
        assert found.flags.writeable


def test_an_array_cut_short_is_damaged_though_its_header_is_known(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 4)))
    load_npy(tmp_path / "a.npy", (4, 4), "make it")
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (6, 9, 60, len(whole) - 8):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"a\.npy is damaged .*make it"):
            load_npy(tmp_path / "a.npy", (4, 4), "make it")
