"""Software on cores and GPUs: records of its families, fitted constants, and rates of kernels by format."""
