"""Datasets of EVP's stages."""
