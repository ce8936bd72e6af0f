"""Faces in pictures: landmarks, crops, edges, paste."""
