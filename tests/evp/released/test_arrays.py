"""The arrays of EVP's release: codes, bases and faces come in, others are refused by name."""

import numpy as np
import pytest

from affekt.media.emotions import EMOTIONS
from affekt.media.faces.geometry import align_2d
from affekt.media.faces.schemes import SENSE106
from evp.inference.emotion_codes import load_codes
from evp.landmark_space import load_space, unflatten
from evp.released.importer import import_released
from tests.corpora.evp_layout import feature_files, landmark_files
from tests.corpora.import_refusals import import_or_one_line


def test_arrays_alone_are_imported_without_a_checkpoint(tmp_path):
    files = [*landmark_files(tmp_path), *feature_files(tmp_path, 128)]
    report = import_released(files, tmp_path / "out", "M003")
    assert report.models == {}
    assert load_space(tmp_path / "out" / "audio2lm" / "landmark_space.npz").basis.shape == (16, 212)
    assert len(load_codes(tmp_path / "out" / "audio2lm").codes) == 16
    assert report.arrays["emotion_codes"] == ", ".join(sorted(EMOTIONS))


def test_predicted_faces_become_pixels(tmp_path):
    files = landmark_files(tmp_path)
    basis, mean = np.load(files[0]), np.load(files[1])
    predicted = mean + 0.05 * np.random.default_rng(0).normal(size=(4, 16)) @ basis[:, :16].T
    np.save(tmp_path / "M003.npy", predicted.reshape(4, 106, 2).astype(np.float32))
    np.save(tmp_path / "mouth_open.npy", mean + 0.01)
    files += [tmp_path / "M003.npy", tmp_path / "mouth_open.npy"]
    assert import_released(files, tmp_path / "out", "M003").arrays["landmarks/M003"] == "4 faces"
    faces = np.load(tmp_path / "out" / "landmarks" / "M003.npy")
    assert faces.dtype == np.float32
    np.testing.assert_allclose(faces, 255 * predicted.reshape(4, 106, 2), atol=1e-3)
    assert np.load(tmp_path / "out" / "landmarks" / "mouth_open.npy").shape == (1, 106, 2)


def test_blends_are_left_out_since_codes_make_them(tmp_path):
    files = feature_files(tmp_path, 128)
    happy, sad = (np.load(path) for path in files if path.stem in ("happy", "sad"))
    blend = tmp_path / "happy2_sad8.npy"
    np.save(blend, 0.2 * happy + 0.8 * sad)
    left = import_released([*files, blend], tmp_path / "out", "M003").left_out
    found = [(names, "--emotion-blend" in why) for why, names in left.items()]
    assert found == [(["happy2_sad8.npy"], True)]
    with pytest.raises(ValueError, match="nothing to import"):
        import_released([blend], tmp_path / "other", "M003")


def wrong_arrays(folder):
    """An array and what its refusal must say."""
    basis, mean = (np.load(path) for path in landmark_files(folder))
    yield "U_106", 2 * basis, "not orthonormal"
    yield "mean_106", 255 * mean, "wanted fractions of the face crop"
    yield "happy", np.full(128, -1.0), "below 0"
    yield "bored", np.ones(128), "unknown emotion 'bored'"
    yield "happy2", np.ones(128), "unknown emotion 'happy2'"
    yield "happy", np.full(128, np.nan), "NaN"
    yield "happy", np.arange(128), "not real numbers"
    yield "happy", np.ones(64), r"\(64,\), wanted \(128,\)"
    yield "faces", np.ones((4, 68, 2)), r"\(4, 68, 2\)"
    yield "empty", np.ones((0, 106, 2)), r"\(0, 106, 2\)"
    yield "one", np.array(1.0), r"shape \(\)"


def test_an_array_that_is_none_of_the_releases_is_refused(tmp_path):
    for name, array, words in wrong_arrays(tmp_path):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ValueError, match=words) as refusal:
            import_released([tmp_path / f"{name}.npy"], tmp_path / "out", "M003")
        assert name in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("<html>")
    for name, words in (("pickled", "damaged"), ("text", "no numpy array"), ("gone", "is missing")):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            import_released([tmp_path / f"{name}.npy"], tmp_path / "out", "M003")
    assert not (tmp_path / "out").exists()


def test_basis_and_mean_belong_together_and_come_once(tmp_path):
    basis, mean = landmark_files(tmp_path)
    with pytest.raises(ValueError, match=r"<ID>_mean_106\.npy as well"):
        import_released([basis], tmp_path / "out", "M003")
    with pytest.raises(ValueError, match=r"<ID>_U_106\.npy as well"):
        import_released([mean], tmp_path / "out", "M003")
    with pytest.raises(ValueError, match="second mean"):
        import_released([basis, mean, mean], tmp_path / "out", "M003")
    np.save(basis, np.load(basis)[:, :5])
    with pytest.raises(ValueError, match="5 directions in its columns, wanted 16"):
        import_released([basis, mean], tmp_path / "out", "M003")


def test_cut_off_and_altered_arrays_end_in_one_line(tmp_path):
    landmark_files(tmp_path)
    path = tmp_path / "mean_106.npy"
    np.save(tmp_path / "result.npy", np.full((3, 106, 2), 0.5))
    good, rng = (tmp_path / "result.npy").read_bytes(), np.random.default_rng(0)
    for attempt in range(150):
        bad = bytearray(good)
        if attempt % 2:
            del bad[int(rng.integers(len(bad))) :]
        else:
            for place in rng.integers(0, 128, 3):
                bad[place] = rng.integers(256)
        path.write_bytes(bad)
        import_or_one_line(path, tmp_path / "out", must_fail=bool(attempt % 2))


@pytest.mark.data
@pytest.mark.parametrize("speaker", ["M003", "M030"])
def test_the_public_arrays_are_imported(media_root, tmp_path, speaker):
    folder = media_root / "evp_arrays"
    files = [
        *folder.glob(f"{speaker}_feature__*.npy"),
        *(folder / f"basics__{speaker}_{name}_106.npy" for name in ("U", "mean")),
        folder / f"result__{speaker}.npy",
        *(folder / f"basics__{name}.npy" for name in ("eye_close", "mouth_open", "left")),
    ]
    report = import_released(files, tmp_path / "out", speaker)
    codes = load_codes(tmp_path / "out" / "audio2lm")
    assert set(codes.codes) == {*EMOTIONS, *(f"{speaker}/{label}" for label in EMOTIONS)}
    assert sum(map(len, report.left_out.values())) == {"M003": 17, "M030": 8}[speaker]
    faces = np.load(tmp_path / "out" / "landmarks" / f"{speaker}.npy")
    assert faces.shape == (1074, 106, 2)
    space = load_space(tmp_path / "out" / "audio2lm" / "landmark_space.npz")
    neutral = unflatten(space.neutral_of(speaker))
    assert np.abs(align_2d(faces, SENSE106) - align_2d(neutral[None], SENSE106)).mean() < 4
