"""From emotion, sound and portrait to emospace's video."""
