"""Who may use the page: users, their passwords and tokens, and what each may do and see."""
