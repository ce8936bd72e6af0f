"""A trained FOMM made for inference on a CPU."""
