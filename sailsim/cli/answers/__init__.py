"""Commands that answer one question: `run`, `serve`, `quality`."""
