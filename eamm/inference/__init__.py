"""From a portrait and sound to the video of EAMM and FOMM."""
