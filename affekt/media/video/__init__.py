"""Video files, stored frames, pictures, optical flow."""
