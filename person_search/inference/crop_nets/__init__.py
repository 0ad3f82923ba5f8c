"""What embeds crops of people, for models of two steps."""
