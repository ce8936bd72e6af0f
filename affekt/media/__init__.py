"""Sound, pictures and faces: what the papers of this project share."""
