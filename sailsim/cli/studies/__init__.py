"""Commands of studies: `sweep`, `explore`, `results`, `report`, `claims`."""
