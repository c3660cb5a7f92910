"""Models without their weights: shapes, formats of tensors, and the operations of a step."""
