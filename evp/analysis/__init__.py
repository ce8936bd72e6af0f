"""What EVP's codes and edited faces show."""
