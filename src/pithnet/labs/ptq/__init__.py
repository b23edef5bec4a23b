"""What a trained network loses by pruning and by int8, and what it gains."""
