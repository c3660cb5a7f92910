"""Options, paths, tables and JSON that commands share."""
