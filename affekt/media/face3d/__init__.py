"""3D face models and their fit to landmarks."""
