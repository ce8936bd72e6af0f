"""Endings of video and sound files: one list for all that look for them in folders.

An ending only chooses which files of a folder are looked at; how a file is read is decided by its
content (video/container.py). Case does not matter. Animated GIFs are left out: they have no sound,
and are mostly previews of a video of the same name.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

VIDEO_ENDINGS = (
    *(".mp4", ".mov", ".mpg", ".mpeg", ".avi", ".mkv", ".webm", ".m4v", ".wmv", ".flv"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".asf", ".f4v", ".dv"),
)
SOUND_ENDINGS = (
    *(".wav", ".m4a", ".mp3", ".flac", ".ogg", ".aac", ".aif", ".aiff"),
    *(".opus", ".oga", ".wma", ".amr", ".caf", ".w64", ".mka", ".ac3"),
)


def is_of(path: Path, endings: Sequence[str]) -> bool:
    """Return whether a file's name has one of the endings, in any case."""
    return path.suffix.lower() in endings


def left_out(paths: Sequence[Path]) -> str:
    """Return the line that names files which are no video or sound; empty where there are none."""
    if not paths:
        return ""
    kinds = Counter(path.suffix.lower() or "no ending" for path in paths).most_common(4)
    counts = ", ".join(f"{kind} {count}" for kind, count in kinds)
    return f"{len(paths)} files of other kinds are left out ({counts}), as {paths[0]}"
