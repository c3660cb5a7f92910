"""Commands for units and programs: `gemv`, `activations`, `trace`, `replay`, `image`, `gem5`."""
