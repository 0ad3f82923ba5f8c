"""Re-identification heads and losses that stand on their own."""
