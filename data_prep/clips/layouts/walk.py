"""The files of a corpus: videos, sounds, and what is neither."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from affekt.media.endings import SOUND_ENDINGS, VIDEO_ENDINGS, is_of
from affekt.runtime.files import nfc

BESIDE = (*SOUND_ENDINGS, ".mov", ".mp4")  # of the sound of a video (EAMM names WAV files .mov)


@dataclass
class Files:
    """The files under a folder, each kind sorted."""

    videos: list[Path] = field(default_factory=list)
    sounds: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def sound_named(self, stem: str) -> Path | None:
        """Return the first sound of a name, wherever it lies."""
        return self._by_stem.get(stem)

    @cached_property
    def _by_stem(self) -> dict[str, Path]:
        return {path.stem: path for path in reversed(self.sounds)}


def walk(root: Path) -> Files:
    """Return the files under a folder; hidden ones and prepared corpora are passed over."""
    found = Files()
    for path in map(Path, sorted(_visible(root))):
        if is_of(path, VIDEO_ENDINGS):
            found.videos.append(path)
        elif is_of(path, SOUND_ENDINGS):
            found.sounds.append(path)
        else:
            found.others.append(path)
    return found


def _visible(root: Path) -> Iterator[str]:
    """Yield the visible files; links to folders are followed where they lead out of the root."""
    home, seen = root.resolve(), {root.resolve()}
    for folder, folders, names in os.walk(root, followlinks=True):
        if {"corpus.json", "manifest.jsonl"} <= set(names):  # a prepared corpus, perhaps our own
            folders.clear()
            continue
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and _enters(folder, name, home, seen)
        ]
        yield from (f"{folder}{os.sep}{name}" for name in names if not name.startswith("."))


def _enters(folder: str, name: str, home: Path, seen: set[Path]) -> bool:
    path = Path(folder, name)
    if not path.is_symlink():
        return True
    target = path.resolve()
    if target.is_relative_to(home) or home.is_relative_to(target) or target in seen:
        return False
    seen.add(target)
    return True


class Sounds:
    """Finds the sound file of a video's name: any ending, any case, letters composed or not."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def beside(self, path: Path) -> Path | None:
        """Return the sound in path's folder that has its name but for the ending."""
        folder = path.parent
        if folder not in self._folders:
            by_stem: dict[str, list[Path]] = defaultdict(list)
            for found in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_of(found, BESIDE) and found.is_file():
                    by_stem[nfc(found.stem)].append(found)
            self._folders[folder] = by_stem
        candidates = self._folders[folder].get(nfc(path.stem), [])
        return min(candidates, key=lambda found: BESIDE.index(found.suffix.lower()), default=None)
