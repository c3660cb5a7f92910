"""The ground floor: errors, files that appear whole, numbers that know their unit and source."""
