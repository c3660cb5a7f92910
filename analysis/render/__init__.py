"""Figures, pages and the report: everything that is drawn or written for reading, over results alone."""
