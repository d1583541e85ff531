"""Reading Kafka: whole polls as batches, landed before they are judged, with an exact rule for what is late."""
