"""Models from files: GGUF, safetensors and Hugging Face folders, and models by name."""
