"""Import of EVP's release."""
