"""What people do between runs."""
