"""Speakers: shape, colours, hair, voice and room of each, drawn from the seed."""

from dataclasses import dataclass

import numpy as np

from data_prep.mini.head.modes import IDENTITIES

Colour = tuple[float, float, float]  # red, green, blue in [0, 1]

SKINS: tuple[Colour, ...] = (
    (0.93, 0.74, 0.63), (0.78, 0.57, 0.44), (0.96, 0.80, 0.71),
    (0.60, 0.41, 0.30), (0.88, 0.68, 0.54), (0.70, 0.49, 0.36),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (0.22, 0.14, 0.09), (0.09, 0.08, 0.09), (0.55, 0.35, 0.17),
    (0.12, 0.09, 0.08), (0.38, 0.18, 0.09), (0.36, 0.27, 0.19),
)  # fmt: skip
EYES: tuple[Colour, ...] = (
    (0.30, 0.46, 0.56), (0.36, 0.22, 0.11), (0.33, 0.47, 0.28),
    (0.24, 0.15, 0.09), (0.42, 0.32, 0.16), (0.28, 0.38, 0.44),
)  # fmt: skip
SHIRTS: tuple[Colour, ...] = (
    (0.16, 0.30, 0.48), (0.62, 0.20, 0.22), (0.20, 0.42, 0.36),
    (0.84, 0.62, 0.22), (0.36, 0.26, 0.46), (0.30, 0.33, 0.38),
)  # fmt: skip
ROOMS: tuple[Colour, ...] = (
    (0.72, 0.78, 0.80), (0.82, 0.76, 0.68), (0.66, 0.70, 0.78),
    (0.74, 0.80, 0.72), (0.80, 0.72, 0.74), (0.70, 0.72, 0.70),
)  # fmt: skip
# voice variant files of espeak-ng that sound distinct from each other, and their base pitch (0-99)
MEN = (("en-us+m3", 42), ("en-us+m7", 34), ("en-us+m1", 50), ("en-us+m6", 38))
WOMEN = (("en-us+f3", 56), ("en-us+f2", 50), ("en-us+f4", 62), ("en-us+f5", 54))
MEN_STYLES = ("short", "side_part", "crop")
WOMEN_STYLES = ("bob", "long", "fringe", "tied")
MAX_SPEAKERS = 98  # M901 ... W998


@dataclass(frozen=True)
class Speaker:
    """All that a speaker keeps through every clip."""

    name: str  # M9xx or W9xx, after MEAD's names
    identity: tuple[float, ...]  # strength of each of `modes.IDENTITIES`
    neck_width: float
    collar: float  # y of the collar at the side, cm
    style: str
    voice: str
    pitch: int
    skin: Colour
    hair: Colour
    eyes: Colour
    shirt: Colour
    room: Colour
    room_seed: int


def make_speaker(seed: int, index: int) -> Speaker:
    """Speaker `index` of the corpus of a seed: men and women in turn."""
    random = np.random.default_rng((seed, index, 1))
    man = index % 2 == 0
    voices, styles = (MEN, MEN_STYLES) if man else (WOMEN, WOMEN_STYLES)
    voice, pitch = voices[(index // 2) % len(voices)]
    shape = np.clip(random.normal(0, 0.8, len(IDENTITIES)), -1.4, 1.4)
    tendency = {"jaw_width": 0.9, "brow_thickness": 1.0, "lip_fullness": -0.5, "eye_size": -0.4}
    for field, amount in tendency.items():
        shape[IDENTITIES.index(field)] += amount if man else -amount
    return Speaker(
        name=f"{'M' if man else 'W'}{901 + index}",
        identity=tuple(float(value) for value in shape),
        neck_width=1.06 if man else 0.86,
        collar=15.2 if man else 15.9,
        style=styles[(index // 2) % len(styles)],
        voice=voice,
        pitch=pitch,
        skin=SKINS[index % len(SKINS)],
        hair=HAIRS[index % len(HAIRS)],
        eyes=EYES[index % len(EYES)],
        shirt=SHIRTS[index % len(SHIRTS)],
        room=ROOMS[index % len(ROOMS)],
        room_seed=int(random.integers(2**31)),
    )


def palette(speaker: Speaker) -> dict[str, tuple[float, float, float, float]]:
    """Colour and gloss of every material of `parts.MATERIALS`."""
    skin, hair = np.array(speaker.skin), np.array(speaker.hair)
    lip = skin * (0.84, 0.56, 0.56) if speaker.name[0] == "M" else skin * (0.86, 0.46, 0.48)
    colours = {
        "skin": (skin, 0.10),
        "blush": (skin * (1.02, 0.82, 0.80), 0.10),
        "shade": (skin * (0.52, 0.42, 0.40), 0.02),
        "lip": (lip, 0.28),
        "inner_lip": (lip * (0.62, 0.45, 0.45), 0.10),
        "lash": (np.array((0.10, 0.07, 0.06)), 0.0),
        "brow": (hair * 0.75, 0.02),
        "white": (np.array((0.97, 0.97, 0.96)), 0.10),
        "iris": (np.array(speaker.eyes), 0.10),
        "iris_rim": (np.array(speaker.eyes) * 0.45, 0.10),
        "pupil": (np.array((0.03, 0.03, 0.04)), 0.10),
        "spark": (np.array((1.2, 1.2, 1.2)), 0.50),
        "cavity": (np.array((0.16, 0.05, 0.05)), 0.0),
        "teeth": (np.array((0.95, 0.93, 0.88)), 0.15),
        "tongue": (np.array((0.66, 0.30, 0.30)), 0.05),
        "hair": (hair, 0.22),
        "hair_dark": (hair * 0.62, 0.10),
        "shirt": (np.array(speaker.shirt), 0.02),
        "shirt_dark": (np.array(speaker.shirt) * 0.72, 0.02),
    }
    return {name: (*np.clip(rgb, 0, 1.2), gloss) for name, (rgb, gloss) in colours.items()}
