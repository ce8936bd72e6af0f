import re

import numpy as np
import pytest

from affekt.media.corpus import Corpus
from affekt.media.face3d.coefficients import IDENTITIES, MODEL, open_expression
from affekt.media.face3d.model import project
from affekt.media.faces.points import mouth_opening
from affekt.media.integrity import EXPRESSION, clip_faults, read_sealed, write_sealed
from tests.corpora.emotion_space_corpus import make_emotion_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("emotions")
    return make_emotion_corpus(root, speakers=2, held_out=1, frames=8, levels=(3,))


@pytest.fixture
def kept(corpus):
    """The corpus; what a test writes into its own files is undone."""
    files = [path for path in corpus.root.rglob("*") if path.suffix in (".json", ".npz", ".npy")]
    before = {path: path.read_bytes() for path in files}
    yield corpus
    for path, content in before.items():
        path.write_bytes(content)


def test_faces_of_the_coefficients_are_the_landmarks(corpus):
    shared = open_expression(corpus)
    for clip in corpus.clips():
        assert clip.expression().shape == (8, shared.modes)
        faces = shared.model.shapes(shared.identity_of(clip.speaker), clip.expression())
        np.testing.assert_allclose(
            project(faces, clip.expression_pose()), clip.landmarks(), atol=0.01
        )
    shared.check_clips(corpus.clips())
    assert sorted(shared.identities) == ["M901", "M902"]


def test_the_made_up_corpus_shows_and_sounds_its_emotions(corpus):
    assert {clip.split for clip in corpus.clips()} == {"train", "test_sentence", "test_speaker"}
    happy, angry = corpus.clip("M901_happy_3_001"), corpus.clip("M901_angry_3_001")
    assert happy.expression()[:, 1].mean() > 0.3 > -1.0 > angry.expression()[:, 1].mean()
    louder = happy.mel().mean(axis=0) - angry.mel().mean(axis=0)
    assert louder[57] > 0.8
    assert louder[33] < -0.8
    shown = np.concatenate([mouth_opening(clip.landmarks()) for clip in corpus.clips()])
    opened = np.concatenate([clip.expression()[:, 0] for clip in corpus.clips()])
    assert np.corrcoef(shown, opened)[0, 1] > 0.9
    assert happy.store()[0].shape == (32, 32, 3)


def test_a_corpus_without_coefficients_names_the_command(kept):
    (kept.root / EXPRESSION).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape("run python -m data_prep.expression")):
        open_expression(Corpus(kept.root))


def test_an_unknown_speaker_and_coefficients_without_a_face_model_are_named(kept):
    with pytest.raises(ValueError, match="no speaker 'W999', only M901, M902"):
        open_expression(kept).identity_of("W999")
    record = read_sealed(kept.root / EXPRESSION)
    del record["files"][MODEL]
    write_sealed(kept.root / EXPRESSION, record)
    without = open_expression(kept)
    assert without.modes == 6
    with pytest.raises(ValueError, match="no landmark loss, no flow prior"):
        without.model  # noqa: B018


def test_clips_of_another_face_model_are_refused(kept):
    clip = kept.clips()[1]
    record = read_sealed(clip.folder / EXPRESSION)
    write_sealed(clip.folder / EXPRESSION, record | {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=f"{clip.id}.*is of a face model"):
        open_expression(kept).check_clips(kept.clips())


@pytest.mark.parametrize("name", [MODEL, IDENTITIES])
def test_damaged_files_are_named(kept, name):
    path = kept.root / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        open_expression(kept)


def test_a_changed_byte_of_a_clips_mel_or_coefficients_is_found(kept):
    folder = kept.clips()[0].folder
    write_sealed(folder / "clip.json", {"files": {}})
    assert clip_faults(folder) == []
    for name in ("mel.npy", "expression.npy"):
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)
    faults = clip_faults(folder)
    makers = ("mel.npy is damaged.*data_prep.mel", "expression.npy is damaged.*expression")
    assert len(faults) == 2
    assert all(re.search(maker, fault) for maker, fault in zip(makers, faults, strict=True))
