"""The networks of EVP."""
