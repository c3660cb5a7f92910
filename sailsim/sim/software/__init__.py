"""Software on cores and GPUs: fitted constants, and rates of kernels by format."""
