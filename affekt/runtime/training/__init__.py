"""Parts of a training run: processes side by side, batch norm across them, metrics."""
