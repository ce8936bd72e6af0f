"""From sound to EVP's video."""
