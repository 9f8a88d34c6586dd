"""The data door: list, info, verify, fetch, prepare and score, one file each (floor 5)."""
