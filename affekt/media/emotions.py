"""The eight emotions, in the label order of EVP's release, and other corpora's spellings."""

import difflib

EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
NEUTRAL = "neutral"

_SPELLINGS = {
    "anger": "angry",
    "contemptuous": "contempt",
    "disgust": "disgusted",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "joy": "happy",
    "calm": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}


def canonical(name: str) -> str:
    """Return the project's spelling of an emotion.

    Raises:
        ValueError: unknown; the message names the nearest known spelling.
    """
    key = name.strip().lower()
    key = _SPELLINGS.get(key, key)
    if key in EMOTIONS:
        return key
    near = difflib.get_close_matches(key, [*EMOTIONS, *_SPELLINGS], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown emotion {name!r}{hint}; known: {', '.join(EMOTIONS)}")


def index(name: str) -> int:
    """Return the label of an emotion by the order of EMOTIONS, 0 to 7."""
    return EMOTIONS.index(canonical(name))
