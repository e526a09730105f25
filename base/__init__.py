"""What every layer needs and that depends on no other package of ours."""
