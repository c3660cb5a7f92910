"""Where activation patterns repeat, and what the PRT's published saving may mean. docs/reuse.md explains."""
