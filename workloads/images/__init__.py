"""Images of models for the AArch64 decode program: layout, writing, and its arithmetic in NumPy."""
