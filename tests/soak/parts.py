"""The parts of the soak, the short ones first."""

from tests.soak import playlists

PARTS = (playlists.PART,)
