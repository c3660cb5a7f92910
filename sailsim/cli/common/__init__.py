"""What the commands share: options, paths, tables and JSON."""
