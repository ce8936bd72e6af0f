"""MEAD's folders, as published and as people's copies of them are.

<speaker>/video/<view>/<emotion>/level_<n>/<number>.mp4, with the sound beside it in
<speaker>/audio/<emotion>/level_<n>/<number>.m4a (of a view other than front:
<speaker>/audio_<view>/...). A clip without such a file uses the video's own sound. Views: front,
left_30, left_60, right_30, right_60, top, down. Levels are 1 to 3, neutral has 1 alone.

Archives that were unpacked into folders of their own are read where they lie: M003/video/video/...,
M003/video.tar/video/..., M003.zip/M003/.... What the copies lack is named: speakers without a clip,
views that a speaker has not, and names such as "001 (1)", which are no number of a sentence.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_prep.clips.layouts.config import FRONT, CorpusConfig, Name
from data_prep.clips.layouts.walk import Sounds

SPEAKER = re.compile(r"[MW]\d{3}.*")  # M003, and what its archive may be called
RENAME = "delete it if it is a second copy, else name it like the others"
ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz|rar|7z)$")


def mead(path: Path, root: Path, config: CorpusConfig) -> Name | None:
    """Read <speaker>/video/<view>/<emotion>/level_<n>/<number>, of sounds <speaker>/audio/..."""
    parts = list(path.relative_to(root).parts[:-1])
    level = re.fullmatch(r"level_(\d+)", parts.pop()) if len(parts) > 3 else None
    if level is None:
        return None
    emotion = parts.pop()
    top, view = ("video", parts.pop()) if config.has_pictures else ("audio", FRONT)
    if not config.has_pictures and parts[-1].startswith("audio_"):
        view = parts.pop().removeprefix("audio_")
        parts.append("audio")
    above = without_archives(parts, top)
    if above == parts or not above:
        return None
    *archive, speaker = above
    speaker = ARCHIVE.sub("", speaker)
    if len(archive) > 1 or (archive and not archive[0].startswith(speaker)):
        return None
    number = path.stem
    fault = "" if number.isdecimal() else f"{number!r} is no number of a sentence; {RENAME}"
    return Name(speaker, emotion, int(level[1]), number, number, view=view, fault=fault)


def without_archives(parts: list[str], top: str) -> list[str]:
    """Return folders without `top` at their end, be it doubled by an archive: video.tar/video."""
    kept = list(parts)
    while kept and kept[-1].startswith(top):
        kept.pop()
    return kept if parts and parts[-1] == top else list(parts)


def mead_sound(path: Path, name: Name, root: Path, sounds: Sounds) -> Path | None:
    """Return the sound of a video where MEAD has it in a file of its own."""
    parts = list(path.relative_to(root).parts)
    speaker = root.joinpath(*without_archives(parts[:-4], "video"))
    top = "audio" if name.view == FRONT else f"audio_{name.view}"
    for folder in (speaker / top, speaker / top / top):
        found = sounds.beside(folder / parts[-3] / parts[-2] / path.name)
        if found is not None:
            return found
    return None


def mead_notes(names: Iterable[tuple[Path, Name]], config: CorpusConfig) -> Iterator[str]:
    """Yield what the copy lacks: speakers without a clip, and views that others have."""
    root = config.root
    views: dict[str, set[str]] = defaultdict(set)
    folders: set[str] = set()
    for path, name in names:
        views[name.speaker].add(name.view)
        folders.add(path.relative_to(root).parts[0])
    wanted = set(config.speakers)
    published = {path.name for path in root.iterdir() if path.is_dir()}
    empty = sorted(
        name
        for name in published - folders
        if SPEAKER.fullmatch(name) and (not wanted or name in wanted) and name not in views
    )
    if empty:
        yield f"speakers without a clip of this layout: {', '.join(empty)}"
    for view in config.views or sorted(set().union(*views.values())):
        lacking = sorted(
            speaker
            for speaker, found in views.items()
            if view not in found and (not wanted or speaker in wanted)
        )
        if lacking and config.has_pictures:
            have = "; ".join(f"{who} has {', '.join(sorted(views[who]))}" for who in lacking[:5])
            yield f"{len(lacking)} speakers have no view {view!r}: {', '.join(lacking)} ({have})"
