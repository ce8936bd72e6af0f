"""The eight emotions, in the label order of EVP's release, other spellings, and blends a:b:w.

Only words for the same emotion are spellings. RAVDESS's calm is none of the eight: a corpus lists
it among its classes, or `corpus.spellings` says what it counts as.
"""

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


def parse_blend(
    text: str, form: str = "a:b:w, such as sad:happy:0.3", colons: bool = False
) -> tuple[list[tuple[str, str]], float]:
    """Return the two names and the weight of "a:b:w", w from 0 (all a) to 1 (all b).

    Args:
        text: the blend.
        form: what is wanted, for the error.
        colons: whether names may hold colons, as those of files; every way to part them is returned
            then.

    Raises:
        ValueError: not of that form, or a weight outside 0 to 1.
    """
    # The last colon separates the weight, another one the names
    names, _, number = text.rpartition(":")
    places = [k for k, letter in enumerate(names) if letter == ":"]
    pairs = [(names[:k].strip(), names[k + 1 :].strip()) for k in places]
    try:
        weight = float(number)
    except ValueError:
        pairs = []
    if not pairs or (not colons and (len(pairs) > 1 or not all(pairs[0]))):
        raise ValueError(f"{text!r} is not of the form {form}")
    if not 0 <= weight <= 1:
        raise ValueError(f"the weight of {text!r} is {weight:g}, wanted 0 to 1")
    return pairs, weight


def parse_pair(text: str) -> tuple[str, str]:
    """Return the two names of "a:b".

    Raises:
        ValueError: not of that form, or one name twice.
    """
    first, _, second = (part.strip() for part in text.partition(":"))
    if not first or not second or ":" in second or first == second:
        raise ValueError(f"{text!r} is not of the form a:b, two emotions such as happy:sad")
    return first, second
