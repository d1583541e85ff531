"""Whether what lies in a lake fits together; reads only."""
