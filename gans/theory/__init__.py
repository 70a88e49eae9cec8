"""What is known of the games in closed form, and the smallest games that show it; pure functions on tensors."""
