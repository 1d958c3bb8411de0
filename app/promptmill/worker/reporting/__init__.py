"""What a worker tells of its work: to the log, to the metrics and to the other processes."""
