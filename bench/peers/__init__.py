"""What a user would otherwise use: each one as a competent engineer would write it, and readable."""
