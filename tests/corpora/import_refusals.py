"""Either a damaged file is imported all the same, or refused in one line that names it."""

from evp.released.importer import import_released


def import_or_one_line(path, out, must_fail):
    refusal = None
    try:
        import_released([path], out, "M003")
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        assert not must_fail
    else:
        assert str(path) in refusal
        assert len(refusal.splitlines()) == 1
