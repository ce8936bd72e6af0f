"""Analyses of emospace's networks, and the figures of its supplement."""
