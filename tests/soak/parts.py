"""The parts of the soak, the short ones first."""

from tests.soak import documents, playlists

PARTS = (playlists.PART, documents.PART)
