"""Commands with one answer: `run`, `serve`, `quality`."""
