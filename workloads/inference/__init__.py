"""Models run for real: weights, a decoder, captured activations, perplexity."""
