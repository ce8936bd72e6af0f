"""Audio2Facial-Dynamics (EAMM)."""
