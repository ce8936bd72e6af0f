"""What every run needs: configuration, run folder, seeds, checkpoints."""
