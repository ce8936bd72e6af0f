"""The parts of the soak, the short ones first."""

from tests.soak import (
    damage,
    documents,
    full_disk,
    kills,
    media,
    playlists,
    preparing,
    processes,
)

PARTS = (
    *(playlists.PART, documents.PART, media.PART, damage.CHECKPOINTS, damage.CORPUS),
    *(processes.PART, full_disk.PART, preparing.PART, kills.PART),
)
