"""Analyses of EVP's codes and edited faces (Fig. 5, Fig. 1 b)."""
