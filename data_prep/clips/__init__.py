"""From source files to the folder of a clip."""
