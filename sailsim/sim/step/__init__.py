"""One step of a model on a machine with an accelerator: its parts, the tiles of its GEMVs, its schedule."""
