"""An emotion space without training: codes are class means and noise, whatever they are of."""

import zlib

import numpy as np
import torch
from torch import nn

from emospace.data.emotions import clip_pictures
from emospace.data.prompts import PromptBank, Wording

C = 16
NOISE = 0.35  # length of what a code strays from its class's mean
BANK = PromptBank(
    ("a {emotion} {subject}", "a {subject} who looks {emotion}", "{emotion}"),
    (
        Wording("angry", ("angry", "furious")),
        Wording("happy", ("happy", "joyful")),
        Wording("neutral", ("neutral", "calm")),
        Wording("sad", ("sad", "gloomy")),
    ),
    ("someone seems {emotion}",),
)


class MadeUpSpace(nn.Module):
    """What EAC takes of an EmotionSpace; it knows the clips of one corpus by heart."""

    def __init__(self, corpus, pictures=(4,), emotions=None, seed=0):
        super().__init__()
        self.emotions = tuple(emotions or corpus.emotions)
        self.bank = BANK.for_emotions(self.emotions)
        rng = np.random.default_rng(seed)
        means = np.linalg.qr(rng.normal(size=(C, C)))[0][: len(self.emotions)]
        self.means = nn.Parameter(torch.from_numpy(means).float())
        self.code_dim = C
        self.known, self.calls = {}, []
        for clip in corpus.clips() if pictures else ():
            label = corpus.emotions.index(clip.emotion)
            self.known[key(clip.mel())] = label
            for count in pictures:
                frames = clip_pictures(clip, count)
                self.known |= {key(frame): label for frame in frames}

    def text_codes(self, texts):
        self.calls.append("text")
        words = [(word, w.emotion) for w in self.bank.emotions for word in w.words]
        named = [next(e for word, e in words if word in text) for text in texts]
        return self.codes([self.emotions.index(e) for e in named], texts)

    def image_codes(self, frames):
        self.calls.append("image")
        return self.codes([self.known[key(frame)] for frame in frames], map(key, frames))

    def audio_codes(self, mels):
        self.calls.append("audio")
        return self.codes([self.known[key(mel)] for mel in mels], map(key, mels))

    def codes(self, labels, items):
        """Return unit codes of labels, each with noise that its item decides."""
        found = []
        for label, item in zip(labels, items, strict=True):
            noise = np.random.default_rng(zlib.crc32(repr(item).encode())).normal(size=C)
            found.append(self.means[label] + NOISE * torch.from_numpy(noise).float() / C**0.5)
        return nn.functional.normalize(torch.stack(found), dim=1).detach()


def key(array):
    """Return what an array is known by."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())
