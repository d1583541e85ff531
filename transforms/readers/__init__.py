"""What readers of several lanes share: progress, restrictions, what stays open between bundles."""
