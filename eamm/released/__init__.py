"""Import of FOMM's and EAMM's releases."""
