"""What is deployed against what the repository says: pure comparisons of two descriptions, and questions that change nothing."""
