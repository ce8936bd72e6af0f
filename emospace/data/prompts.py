"""The bank of prompts: wordings of each emotion, what is held out, and adverbs of intensity.

The paper takes text through CLIP and prints no prompt; templates, words, facial actions and the
meaning of adverbs are ours (configs/emospace/prompts.yaml), as the supplement leaves them open.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from affekt.media.emotions import canonical
from affekt.runtime.config import ConfigError, dump_config, load_config

Kind = Literal["training", "templates", "words"]  # the latter two of what is held out

FULL = 1.0  # the intensity of a text without an adverb
NEGATIONS = frozenset({"not", "no", "never", "without", "hardly", "isn't", "doesn't"})
SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"\b([Aa])n?(?= +(\w+))")
VOWEL = re.compile(r"(?!one|once|uni(?!n|m)|us|eu)[aeiou]", re.IGNORECASE)  # by sound, roughly


class Parsed(NamedTuple):
    """A text without its adverbs of intensity, and the intensity that they name."""

    text: str
    intensity: float  # 1 where it has none


@dataclass(frozen=True)
class Adverbs:
    """Adverbs of one intensity."""

    words: tuple[str, ...]
    intensity: float


@dataclass(frozen=True)
class Wording:
    """What an emotion is called, and what a face does that shows it."""

    emotion: str  # in the project's spelling where it is one of the eight
    words: tuple[str, ...]  # adjectives
    nouns: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()  # noun phrases
    held_out: tuple[str, ...] = ()  # adjectives that are never trained on

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError(f"words of {self.emotion} is empty")
        both = {*self.held_out} & {*self.words, *self.nouns, *self.actions}
        if both:
            raise ValueError(f"{self.emotion}: {min(both)!r} is held out and trained on as well")


@dataclass(frozen=True)
class PromptBank:
    """All wordings; the fields are described in configs/emospace/prompts.yaml."""

    templates: tuple[str, ...]
    emotions: tuple[Wording, ...]
    held_out_templates: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ("person",)
    adverbs: tuple[Adverbs, ...] = ()

    def __post_init__(self) -> None:
        for template in (*self.templates, *self.held_out_templates):
            unknown = {*SLOT.findall(template)} - {"emotion", "noun", "action", "subject"}
            if unknown or not {*SLOT.findall(template)} - {"subject"}:
                raise ValueError(
                    f"the template {template!r} needs one of {{emotion}}, {{noun}}, {{action}}; "
                    "beside it may stand {subject}"
                )
        if not any("{emotion}" in template for template in self.templates):
            raise ValueError("no template holds {emotion}")
        names = self.names
        double = next((name for name in names if names.count(name) > 1), None)
        if double:
            raise ValueError(f"the emotion {double!r} is there twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The emotions it has wordings of."""
        return tuple(wording.emotion for wording in self.emotions)

    def of(self, emotion: str) -> Wording:
        """Return the wordings of an emotion.

        Raises:
            ConfigError: it has none.
        """
        for wording in self.emotions:
            if wording.emotion == emotion:
                return wording
        raise ConfigError(
            f"the bank of prompts has no emotion {emotion!r} (it has {', '.join(self.names)}); add "
            "it to a copy of configs/emospace/prompts.yaml and name the copy in `prompts`"
        )

    def for_emotions(self, emotions: Iterable[str]) -> "PromptBank":
        """Return the bank of these emotions alone, in their order.

        Raises:
            ConfigError: one of them is not there.
        """
        return replace(self, emotions=tuple(self.of(emotion) for emotion in emotions))

    def prompts(
        self, emotion: str, kind: Kind = "training", intensity: float | None = None
    ) -> list[str]:
        """Return all prompts of an emotion, without doubles.

        Args:
            emotion: one of `names`.
            kind: training; templates: training words in held-out templates; words: held-out words
                in training templates.
            intensity: put the adverbs of the nearest intensity before the words; prompts without a
                word, of nouns and facial actions, are left out then.
        """
        wording = self.of(emotion)
        words = wording.held_out if kind == "words" else wording.words
        slots = {"emotion": words, "noun": wording.nouns, "action": wording.actions}
        slots["subject"] = self.subjects
        templates = self.held_out_templates if kind == "templates" else self.templates
        if kind == "words":
            templates = tuple(each for each in templates if "{emotion}" in each)
        if intensity is not None:
            slots["emotion"] = tuple(
                f"{adverb} {word}" for adverb in self._adverbs(intensity) for word in words
            )
            templates = tuple(each for each in templates if "{emotion}" in each)
        found = (text for template in templates for text in _filled(template, slots))
        return list(dict.fromkeys(found))

    def known(self) -> list[tuple[str, str]]:
        """Return every word, noun and facial action with its emotion."""
        return [
            (phrase, wording.emotion)
            for wording in self.emotions
            for phrase in (*wording.words, *wording.held_out, *wording.nouns, *wording.actions)
        ]

    def parse(self, text: str) -> Parsed:
        """Return a text without adverbs of intensity, and the intensity of the last of them.

        "a slightly angry man" is ("an angry man", 0.45). "A little" and its like are no adverbs
        before a subject, as in "a little woman".
        """
        meaning = {word: each.intensity for each in self.adverbs for word in each.words}
        found = FULL

        def taken_out(match: re.Match[str]) -> str:
            nonlocal found
            found = meaning[match[1].lower()]
            return ""

        spaced = " ".join(text.split())
        if meaning:
            spaced = re.sub(self._adverb_pattern(meaning), taken_out, spaced, flags=re.IGNORECASE)
        return Parsed(_with_articles(spaced), found)

    def content(self, text: str) -> str:
        """Return the words of a text that no template, subject or adverb accounts for."""
        filling = {"a", "an", "the", "and", "is", "of", "with", *self.subjects}
        for template in (*self.templates, *self.held_out_templates):
            filling |= {*re.findall(r"[\w'-]+", SLOT.sub("", template).lower())}
        words = re.findall(r"[\w'-]+", self.parse(text).text.lower())
        return " ".join(word for word in words if word not in filling)

    def negation(self, text: str) -> str | None:
        """Return a word of a text that says it does not mean its other words, or None."""
        words = re.findall(r"[\w']+", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
        return next((word for word in words if word in NEGATIONS), None)

    def _adverbs(self, intensity: float) -> Sequence[str]:
        if not self.adverbs:
            raise ConfigError("the bank of prompts has no adverbs, which graded prompts need")
        return min(self.adverbs, key=lambda each: abs(each.intensity - intensity)).words

    def _adverb_pattern(self, adverbs: Iterable[str]) -> str:
        """Return what finds an adverb that stands before another word; longer ones come first."""
        subjects = "|".join(map(re.escape, self.subjects))
        not_noun = rf"(?! (?:{subjects})\b)"
        words = [
            re.escape(word) + (not_noun if " " in word else "")
            for word in sorted(adverbs, key=len, reverse=True)
        ]
        return rf"\b({'|'.join(words)}) (?=\w)"


def load_bank(path: Path) -> PromptBank:
    """Read a bank of prompts.

    Raises:
        ConfigError: missing, or a key or value does not fit; the message names it.
    """
    bank = load_config(PromptBank, path)
    for name in bank.names:
        try:
            spelling = canonical(name)
        except ValueError:
            continue  # a class of the corpus's own
        if spelling != name:
            raise ConfigError(f"{path}: the emotion {name!r} is called {spelling!r} here")
    return bank


def save_bank(bank: PromptBank, path: Path) -> None:
    """Write a bank as `load_bank` reads it."""
    dump_config(bank, path)


def _filled(template: str, slots: dict[str, tuple[str, ...]]) -> list[str]:
    names = SLOT.findall(template)
    choices = itertools.product(*(slots[name] for name in names))
    return [
        _with_articles(template.format(**dict(zip(names, chosen, strict=True))))
        for chosen in choices
    ]


def _with_articles(text: str) -> str:
    """Return a text whose "a" and "an" fit the sound of the next word."""

    def fitting(found: re.Match[str]) -> str:
        return found[1] + ("n" if VOWEL.match(found[2]) else "")

    return ARTICLE.sub(fitting, text)
