"""The eval door (floor 5)."""
