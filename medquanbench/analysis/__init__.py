"""Study cards: many runs that answer one question (floor 4)."""
