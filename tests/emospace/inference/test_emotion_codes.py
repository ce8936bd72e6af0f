"""Codes of a frozen emotion space: computed once, kept, refused, blended."""

import numpy as np
import pytest

from affekt.runtime.config import ConfigError
from emospace.data.emotions import clip_pictures
from emospace.inference.emotion_codes import (
    blend_codes,
    check_space,
    emotion_codes,
    mean_code,
    prompt_code,
)
from tests.corpora.emotion_space_corpus import make_emotion_corpus
from tests.corpora.made_up_space import C, MadeUpSpace

EVERY = ("text", "image", "audio")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_emotion_corpus(tmp_path_factory.mktemp("c"), 2, 1, frames=10, levels=(3,))


def test_codes_are_those_of_the_space_in_the_order_of_the_clips(corpus, tmp_path):
    space, clips = MadeUpSpace(corpus), corpus.clips("train")
    codes = emotion_codes(space, clips, 4, EVERY, tmp_path)
    assert codes.image.shape == (len(clips), 4, C)
    assert codes.audio.shape == (len(clips), C)
    for place, clip in enumerate(clips):
        pictures = space.image_codes(clip_pictures(clip, 4))
        np.testing.assert_array_equal(codes.image[place], pictures)
        np.testing.assert_array_equal(codes.audio[place], space.audio_codes([clip.mel()])[0])
    assert {*codes.text} == {*corpus.emotions}
    wanted = space.text_codes(space.bank.prompts("happy"))
    np.testing.assert_array_equal(codes.text["happy"], wanted)


def test_they_are_computed_once_for_a_space_and_its_clips(corpus, tmp_path):
    space, clips = MadeUpSpace(corpus), corpus.clips("train")
    first = emotion_codes(space, clips, 4, EVERY, tmp_path)
    asked = len(space.calls)
    again = emotion_codes(space, clips, 4, EVERY, tmp_path)
    assert len(space.calls) == asked
    np.testing.assert_array_equal(again.image, first.image)
    # Other weights, other clips, other modalities: other codes
    other = MadeUpSpace(corpus, seed=1)
    assert not np.array_equal(emotion_codes(other, clips, 4, EVERY, tmp_path).audio, first.audio)
    assert len(emotion_codes(space, clips[1:], 4, EVERY, tmp_path).audio) == len(clips) - 1
    text = emotion_codes(space, clips, 4, ("text",), tmp_path)
    assert text.image.shape == text.audio.shape == (0, C)
    assert len([*tmp_path.iterdir()]) == 4


def test_a_space_of_other_emotions_is_refused(corpus):
    space = MadeUpSpace(corpus, pictures=(), emotions=("happy", "sad"))
    with pytest.raises(ConfigError, match="clips of angry, neutral, the emotion space knows happy"):
        check_space(space, corpus.clips(), corpus)
    check_space(MadeUpSpace(corpus, pictures=()), corpus.clips(), corpus)


def test_the_code_of_a_prompt_is_of_held_out_templates_and_of_full_length(corpus):
    space = MadeUpSpace(corpus, pictures=())
    seen = []
    plain = space.text_codes
    space.text_codes = lambda texts: seen.extend(texts) or plain(texts)
    code = prompt_code(space, "happy")
    assert seen == ["someone seems happy", "someone seems joyful"]
    assert np.linalg.norm(code) == pytest.approx(1, abs=1e-5)
    assert code @ space.means[1].detach().numpy() > 0.8
    prompt_code(space, "happy", held_out=False)
    assert "someone seems happy" not in seen[2:]
    assert len(seen) > 4


def test_blends_keep_the_length_of_codes_and_reach_both_ends():
    one, other = np.eye(3)[0], 0.5 * np.eye(3)[1]
    np.testing.assert_allclose(blend_codes(one, other, 0.0), one)
    np.testing.assert_allclose(blend_codes(one, other, 1.0), other)
    half = blend_codes(one, other, 0.5)
    assert np.linalg.norm(half) == pytest.approx(0.75)
    np.testing.assert_allclose(half / 0.75, np.array([2, 1, 0]) / 5**0.5, rtol=1e-6)
    assert not blend_codes(one, -one, 0.5).any()
    np.testing.assert_allclose(mean_code(np.eye(2)), np.full(2, 0.5**0.5), rtol=1e-6)
