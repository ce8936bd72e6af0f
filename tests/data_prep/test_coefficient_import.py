"""Coefficients of Deep3DFaceRecon become those of a corpus, or one line says why not."""

import re

import numpy as np
import pytest
from scipy.io import savemat

from affekt.media.corpus import Corpus
from affekt.media.face3d.coefficients import open_expression
from affekt.runtime.files import read_json
from data_prep import expression as step
from data_prep.face_formats.coefficients import DEEP3D, read_coefficients
from tests.corpora.prepared import write_clip, write_corpus

FRAMES = 6
CLIPS = (("M901", "neutral"), ("M901", "happy"), ("W902", "happy"))


@pytest.fixture
def root(tmp_path):
    """A prepared corpus of three clips with head poses, and files of coefficients beside it."""
    rng, rows = np.random.default_rng(0), []
    for number, (speaker, emotion) in enumerate(CLIPS, 1):
        pictures = np.zeros((FRAMES, 8, 8, 3), np.uint8)
        about = {"emotion": emotion, "pose": rng.normal(size=(FRAMES, 6))}
        rows.append(write_clip(tmp_path / "corpus", speaker, number, pictures, **about))
        publish(tmp_path / "theirs", rows[-1]["id"], rng.normal(size=(FRAMES, 257)))
    write_corpus(tmp_path / "corpus", rows)
    return tmp_path / "corpus"


def publish(folder, clip_id, rows, key="coeff"):
    folder.mkdir(exist_ok=True)
    savemat(folder / f"{clip_id}.mat", {key: rows.astype(np.float32), "transform_params": [[1.0]]})


def run(root, *words):
    theirs = str(root.parent / "theirs")
    return step.main(["--import", theirs, "--format", "deep3d", "--corpus", str(root), *words])


def theirs(root, clip):
    return read_coefficients(root.parent / "theirs" / f"{clip.id}.mat", DEEP3D)


def test_expression_and_the_mean_identity_of_neutral_clips_are_taken_over(root, capsys):
    assert run(root) == 0
    printed = capsys.readouterr().out
    assert "3 clips have expression coefficients of Deep3DFaceRecon (3 made now)" in printed
    assert "no landmark loss, no flow prior" in printed
    assert "clips of all emotions, since there is no neutral one" in printed  # W902
    shared = open_expression(Corpus(root))
    shared.check_clips(Corpus(root).clips())
    neutral, *_ = Corpus(root).clips(emotion="neutral")
    for clip in Corpus(root).clips():
        np.testing.assert_array_equal(clip.expression(), theirs(root, clip)[1])
        np.testing.assert_array_equal(clip.expression_pose(), clip.pose())
    wanted = theirs(root, neutral)[0].mean(axis=0)
    np.testing.assert_allclose(shared.identity_of("M901"), wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="64 expression coefficients of Deep3DFaceRecon without"):
        shared.model  # noqa: B018
    assert run(root) == 0
    assert "(0 made now)" in capsys.readouterr().out


def test_the_layout_is_that_of_deep3dfacerecon(tmp_path):
    rows = np.tile(np.arange(257.0), (2, 1))
    publish(tmp_path, "a", rows, key="coeff_3dmm")
    identity, expression = read_coefficients(tmp_path / "a.mat", DEEP3D)
    assert (identity[0, 0], identity[0, -1]) == (0, 79)
    assert (expression[0, 0], expression[0, -1]) == (80, 143)
    np.savez(tmp_path / "b.npz", id=rows[:, :80], exp=rows[:, 80:144], tex=rows[:, 144:224])
    apart = read_coefficients(tmp_path / "b.npz", DEEP3D)
    np.testing.assert_array_equal(apart[0], identity)
    np.testing.assert_array_equal(apart[1], expression)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((FRAMES, 256)), r"'coeff' is float32 of shape \(6, 256\), wanted .* 257\)"),
        (np.zeros((FRAMES + 1, 257)), r"has 7 frames of expression.*wanted the clip's 6"),
        (np.full((FRAMES, 257), np.nan), "holds NaN or infinity"),
    ],
)
def test_a_file_that_does_not_fit_is_named_in_one_line_and_stops_nothing(
    root, capsys, rows, message
):
    clip = Corpus(root).clips(speaker="W902")[0]
    publish(root.parent / "theirs", clip.id, rows)
    assert run(root) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if f"failed {clip.id}" in line]
    assert len(lines) == 1
    assert re.search(message, lines[0])
    assert read_json(root / "expression.json")["clips"] == 2
    assert not (clip.folder / "expression.npy").exists()


def test_what_cannot_be_imported_at_all_ends_in_one_line(root, tmp_path):
    for path in root.glob("clips/*/*/pose.npy"):
        path.unlink()
    with pytest.raises(SystemExit, match=r"no head poses; run python -m data_prep\.pose first"):
        run(root)
    for path in (tmp_path / "theirs").iterdir():
        path.rename(path.with_stem("other_" + path.stem))
    with pytest.raises(SystemExit, match=r"none of the 3 clips.*M901_happy_1_002\.mat"):
        run(root)
    (tmp_path / "theirs" / "M901_happy_1_002.mat").write_bytes(b"no matrix")
    (tmp_path / "theirs" / "M901_happy_1_002.npz").write_bytes(b"no matrix")
    with pytest.raises(SystemExit, match="are of one clip; remove one"):
        run(root)


def test_files_of_another_kind_are_named(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"no matrix at all")
    with pytest.raises(ValueError, match=r"a\.mat is not readable"):
        read_coefficients(tmp_path / "a.mat", DEEP3D)
    publish(tmp_path, "b", np.zeros((2, 257)), key="other")
    with pytest.raises(ValueError, match=r"b\.mat holds other, transform_params; wanted an array"):
        read_coefficients(tmp_path / "b.mat", DEEP3D)


@pytest.mark.data
def test_published_coefficients_are_read(media_root):
    path = media_root / "talking_heads" / "styletalk_KristiNoem.3dmm.mat"
    identity, expression = read_coefficients(path, DEEP3D)
    assert (identity.shape, expression.shape) == ((540, 80), (540, 64))
    # A skull, seen anew in every frame: the mean over frames is larger than what changes
    assert identity.mean(axis=0).std() > 2 * identity.std(axis=0).mean()
