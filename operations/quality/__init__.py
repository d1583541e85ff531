"""Rules of a contract over what is published: run by hand, kept, and reported as a page."""
