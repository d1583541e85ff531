"""What follows a replay: the difference, promotion, rollback."""
