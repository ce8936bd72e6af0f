"""The figures of EAMM's supplement."""
