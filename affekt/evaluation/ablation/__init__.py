"""EVP's Table 2: runs, scores, table."""
