"""What runs leave behind: manifests, submissions, records of replays."""
