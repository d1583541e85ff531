"""What destinations have answered."""
