"""Published 3D face models as their authors' files; one module reads one of them into a `Basis`."""
