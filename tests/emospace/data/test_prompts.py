"""The bank of prompts: what is trained on and what is held out, and adverbs that become numbers."""

from dataclasses import replace
from pathlib import Path

import pytest

from affekt.media.emotions import EMOTIONS
from affekt.runtime.config import ConfigError
from emospace.data.prompts import PromptBank, Wording, load_bank, save_bank

PATH = Path(__file__).parents[3] / "configs/emospace/prompts.yaml"
BANK = load_bank(PATH)


def test_the_bank_has_the_eight_emotions_and_as_many_prompts_of_each():
    assert BANK.names == (*EMOTIONS, "calm", "bored")
    for kind in ("training", "templates", "words"):
        assert len({len(BANK.prompts(emotion, kind)) for emotion in EMOTIONS}) == 1
    assert len(BANK.prompts("happy")) == len(set(BANK.prompts("happy"))) > 90


def test_no_phrase_belongs_to_two_emotions():
    phrases = [phrase for phrase, _ in BANK.known()]
    assert len(phrases) == len(set(phrases))


def test_what_is_held_out_is_never_trained_on():
    for emotion in EMOTIONS:
        trained = set(BANK.prompts(emotion))
        assert not trained & {*BANK.prompts(emotion, "templates"), *BANK.prompts(emotion, "words")}
        held_out = BANK.of(emotion).held_out
        assert held_out
        for word in held_out:
            assert not any(f" {word} " in f" {text} " for text in trained)
            assert any(f" {word} " in f" {text} " for text in BANK.prompts(emotion, "words"))


def test_articles_follow_the_sound_of_the_next_word():
    prompts = BANK.prompts("angry") + BANK.prompts("contempt")
    assert {"an angry man", "an irate woman", "a furious person"} <= {*prompts}
    assert "a woman with a one-sided smirk" in prompts


@pytest.mark.parametrize(
    ("text", "label", "intensity"),
    [
        ("a furious man", "a furious man", 1.0),
        ("a slightly furious man", "a furious man", 0.45),
        ("a slightly angry man", "an angry man", 0.45),
        ("an extremely happy woman", "a happy woman", 1.0),
        ("She looks  Somewhat sad", "She looks sad", 0.75),
        ("a little bit afraid", "afraid", 0.45),
        ("a little sad", "sad", 0.45),
        ("a little woman", "a little woman", 1.0),
        ("a very slightly sad person", "a sad person", 0.45),
        ("very", "very", 1.0),
        ("", "", 1.0),
    ],
)
def test_an_adverb_is_taken_out_and_becomes_the_intensity(text, label, intensity):
    assert BANK.parse(text) == (label, intensity)


def test_prompts_of_a_level_hold_its_adverbs_and_parse_back_to_it():
    plain = set(BANK.prompts("fear"))
    for intensity in (0.45, 0.75, 1.0):
        prompts = BANK.prompts("fear", intensity=intensity)
        assert len(prompts) > 100
        for text in prompts:
            label, found = BANK.parse(text)
            assert (found, label in plain) == (intensity, True)


def test_the_content_of_a_text_is_what_no_template_accounts_for():
    assert BANK.content("A slightly furious man speaking in a calm voice") == "furious calm"
    assert BANK.content("a man") == ""
    assert BANK.negation("he isn\N{RIGHT SINGLE QUOTATION MARK}t happy") == "isn't"
    assert BANK.negation("he is a notary") is None


def test_a_bank_is_written_and_read_back_and_cut_to_a_corpus_own_emotions(tmp_path):
    few = BANK.for_emotions(("sad", "angry"))
    assert few.names == ("sad", "angry")
    save_bank(few, tmp_path / "bank.yaml")
    assert load_bank(tmp_path / "bank.yaml") == few
    with pytest.raises(ConfigError, match=r"no emotion 'proud'.*name the copy in `prompts`"):
        BANK.for_emotions(("sad", "proud"))


def test_a_bank_that_contradicts_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'glad' is held out and trained on as well"):
        Wording("happy", ("glad",), held_out=("glad",))
    with pytest.raises(ValueError, match="words of happy is empty"):
        Wording("happy", ())
    happy = Wording("happy", ("glad",))
    with pytest.raises(ValueError, match="'happy' is there twice"):
        PromptBank(("{emotion}",), (happy, happy))
    for template in ("a person", "a {subject}", "a {mood} person"):
        with pytest.raises(ValueError, match="needs one of"):
            PromptBank(("{emotion}", template), (happy,))
    save_bank(replace(BANK, emotions=(Wording("anger", ("angry",)),)), tmp_path / "bank.yaml")
    with pytest.raises(ConfigError, match="'anger' is called 'angry' here"):
        load_bank(tmp_path / "bank.yaml")
    with pytest.raises(ConfigError, match="has no adverbs"):
        replace(BANK, adverbs=()).prompts("sad", intensity=1.0)
