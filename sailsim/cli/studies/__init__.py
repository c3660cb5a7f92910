"""Commands with many answers: `sweep`, `explore`, `results`, `report`, `claims`."""
