"""The sensitivity door: studies, a card each, on one bundle and dataset (floor 5)."""
