"""Which clips hold the same sentence."""
