"""Templates: Dataflow Flex Templates and Kubernetes manifests."""
