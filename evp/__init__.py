"""Audio-Driven Emotional Video Portraits (EVP, CVPR 2021)."""
