"""What a reader must know first: findings, their causes, and what to do about them."""
