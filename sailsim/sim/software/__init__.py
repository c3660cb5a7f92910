"""Software on cores and GPUs: its fitted constants, and the rates of its kernels by format."""
