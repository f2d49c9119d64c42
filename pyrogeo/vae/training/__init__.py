"""Training: the loop, its state and checkpoint, and the doors that data come through."""
