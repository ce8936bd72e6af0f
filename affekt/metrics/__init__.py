"""What a number is: one module a metric."""
